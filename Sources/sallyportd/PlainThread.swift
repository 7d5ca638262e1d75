import CThreads
import Glibc

/// A plain POSIX thread with a name and, where asked, a processor of its own. The queue threads are such threads: they
/// never enter a cooperative pool, so nothing that waits elsewhere can keep a packet waiting.
final class PlainThread: Sendable {
    private let identifier: pthread_t

    private init(identifier: pthread_t) {
        self.identifier = identifier
    }

    /// Starts `body` on a new thread.
    /// - Parameters:
    ///   - name: at most 15 bytes, as `ps -L` shows it.
    ///   - niceness: `ordinary` or `urgent`.
    ///   - gathers: whether the thread, when it is woken, lets others finish their turn first, and so finds more to do at
    ///     once (`SCHED_BATCH`).
    ///   - processor: the processor to run on, nil for any.
    /// - Throws: the error number of `pthread_create`.
    static func start(
        name: String, niceness: Int32, gathers: Bool = false, processor: Int?, body: @escaping @Sendable () -> Void
    ) throws(ThreadError) -> PlainThread {
        let start = Unmanaged.passRetained(
            Start(name: name, niceness: niceness, gathers: gathers, processor: processor, body: body))
        var identifier = pthread_t()
        let status = pthread_create(
            &identifier, nil,
            { pointer in
                guard let pointer else { return nil }
                let start = Unmanaged<Start>.fromOpaque(pointer).takeRetainedValue()
                start.run()
                return nil
            }, start.toOpaque())
        guard status == 0 else {
            start.release()
            throw ThreadError(name: name, errorNumber: status)
        }
        return PlainThread(identifier: identifier)
    }

    /// The nice value of a thread that shares the processors as others do.
    static let ordinary: Int32 = 0
    /// The nice value of a thread that busy agents must not starve. The unit's `LimitNICE=` lets a thread come back to it.
    static let urgent: Int32 = -10

    /// Changes the calling thread's nice value; best effort.
    static func setNiceness(_ niceness: Int32) {
        current_thread_set_niceness(niceness)
    }

    /// Waits until the thread's body has returned.
    func join() {
        pthread_join(identifier, nil)
    }

    private final class Start {
        let name: String
        let niceness: Int32
        let gathers: Bool
        let processor: Int?
        let body: @Sendable () -> Void

        init(name: String, niceness: Int32, gathers: Bool, processor: Int?, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.niceness = niceness
            self.gathers = gathers
            self.processor = processor
            self.body = body
        }

        func run() {
            current_thread_configure(name, niceness, gathers ? 1 : 0, Int32(processor ?? -1))
            body()
        }
    }
}

/// A thread could not be started.
struct ThreadError: Error, CustomStringConvertible {
    let name: String
    let errorNumber: Int32

    var description: String {
        "thread \(name): cannot start: \(String(cString: strerror(errorNumber))) (raise TasksMax= or the process limit)"
    }
}

import Synchronization

/// Gives the records that are written to whoever follows them, and the last ones to whoever asks. A follower that is too
/// slow misses records, which it is told; the log never waits for one.
public final class DecisionFeed: Sendable {
    /// One step of a follower.
    public enum Element: Sendable {
        /// A record as it was written.
        case record(DecisionRecord)
        /// So many records were missed before the next one.
        case missed(UInt64)
    }

    private struct State {
        var recent: [DecisionRecord] = []
        var next = 0
        var followers: [Int: Follower] = [:]
        var lastFollower = 0

        /// `next` is the place of the oldest one once `recent` is full, and 0 before.
        var inOrder: [DecisionRecord] { Array(recent[next...] + recent[..<next]) }
    }

    private struct Follower {
        let continuation: AsyncStream<Element>.Continuation
        var missed: UInt64 = 0

        mutating func offer(_ record: DecisionRecord) {
            if missed > 0 {
                guard case .enqueued(let room) = continuation.yield(.missed(missed)) else {
                    missed += 1
                    return
                }
                missed = room > 0 ? 0 : 1
                guard room > 0 else { return }
            }
            if case .dropped = continuation.yield(.record(record)) { missed += 1 }
        }
    }

    private let state = Mutex(State())
    private let kept: Int

    /// A feed that remembers the last `kept` records.
    public init(kept: Int = 1024) {
        self.kept = max(1, kept)
    }

    /// The last records, oldest first.
    public func recent() -> [DecisionRecord] {
        state.withLock { $0.inOrder }
    }

    /// The last records, oldest first, and those that come after them, at most `followerLimit` of which wait for the
    /// follower.
    public func follow() -> (recent: [DecisionRecord], stream: AsyncStream<Element>) {
        let (stream, continuation) = AsyncStream.makeStream(
            of: Element.self, bufferingPolicy: .bufferingOldest(followerLimit))
        let (number, recent) = state.withLock { state in
            state.lastFollower += 1
            state.followers[state.lastFollower] = Follower(continuation: continuation)
            return (state.lastFollower, state.inOrder)
        }
        continuation.onTermination = { [self] _ in
            state.withLock { $0.followers[number] = nil }
        }
        return (recent, stream)
    }

    /// Gives a record to everybody; called by the log thread.
    package func publish(_ record: DecisionRecord) {
        state.withLock { state in
            if state.recent.count < kept {
                state.recent.append(record)
            } else {
                state.recent[state.next] = record
                state.next = (state.next + 1) % kept
            }
            for number in state.followers.keys { state.followers[number]?.offer(record) }
        }
    }

    /// Ends every follower's stream.
    package func finish() {
        let followers = state.withLock { state in
            defer { state.followers = [:] }
            return state.followers.values.map { $0.continuation }
        }
        for continuation in followers { continuation.finish() }
    }
}

private let followerLimit = 4096

internal import HeapModule
internal import Identity

/// When sessions end, on both clocks. An entry of before a renewal stays until its time and then says nothing.
struct SessionDeadlines {
    private struct Entry: Comparable {
        let time: UInt64
        let session: UInt32

        static func < (a: Entry, b: Entry) -> Bool { a.time < b.time }
    }

    private var wall = Heap<Entry>()
    private var boot = Heap<Entry>()

    /// The earliest ends; nil where nothing ends.
    var next: SessionTime? {
        guard let wall = wall.min, let boot = boot.min else { return nil }
        return SessionTime(wall: wall.time, boot: boot.time)
    }

    mutating func insert(_ session: OpenSession) {
        wall.insert(Entry(time: session.expires, session: session.number.rawValue))
        boot.insert(Entry(time: session.deadline, session: session.number.rawValue))
    }

    /// One session whose time is over on one of the clocks; nil where there is none.
    mutating func popEnded(_ now: SessionTime) -> SessionNumber? {
        if let first = boot.min, first.time <= now.boot {
            boot.removeMin()
            return SessionNumber(rawValue: first.session)
        }
        if let first = wall.min, first.time <= now.wall {
            wall.removeMin()
            return SessionNumber(rawValue: first.session)
        }
        return nil
    }
}

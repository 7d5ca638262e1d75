import Enforcement
import Glibc
import Sessions

/// Reads the clocks.
enum Clock {
    /// Both clocks, now.
    static func read() -> ClockReading {
        ClockReading(monotonic: nanoseconds(CLOCK_MONOTONIC), wall: nanoseconds(CLOCK_REALTIME))
    }

    /// One clock, in nanoseconds.
    static func nanoseconds(_ clock: clockid_t) -> UInt64 {
        var now = timespec()
        clock_gettime(clock, &now)
        return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
    }
}

extension Clock {
    /// The clocks that sessions end by.
    static func session() -> SessionTime {
        SessionTime(wall: nanoseconds(CLOCK_REALTIME), boot: nanoseconds(CLOCK_BOOTTIME))
    }
}

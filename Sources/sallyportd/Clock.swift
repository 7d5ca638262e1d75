import Enforcement
import Glibc

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

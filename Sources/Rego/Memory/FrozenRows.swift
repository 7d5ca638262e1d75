/// Plain values in a block of their own. Reading one counts no references: threads that read the same policy would
/// otherwise write to one counter, and wait for each other.
struct FrozenArray<Element: BitwiseCopyable>: BitwiseCopyable {
    private let elements: UnsafeMutablePointer<Element>
    let count: Int

    init(_ array: [Element]) {
        count = array.count
        elements = .allocate(capacity: max(1, array.count))
        elements.initialize(from: array, count: array.count)
    }

    /// The owner's to call, once nobody reads any longer.
    func deallocate() { elements.deallocate() }

    @inline(__always)
    subscript(_ index: Int) -> Element {
        precondition(index >= 0 && index < count)
        return elements[index]
    }

    /// A part, as long as the owner lives.
    @inline(__always)
    subscript(_ range: Range<Int>) -> UnsafeBufferPointer<Element> {
        precondition(range.lowerBound >= 0 && range.upperBound <= count)
        return UnsafeBufferPointer(start: elements + range.lowerBound, count: range.count)
    }
}

/// Rows of plain values side by side in one block.
struct FrozenRows<Element: BitwiseCopyable>: BitwiseCopyable {
    private let elements: FrozenArray<Element>
    /// Where each row begins, and behind them where the last one ends.
    private let starts: FrozenArray<Int>

    init(_ rows: [[Element]]) {
        elements = FrozenArray(Array(rows.joined()))
        var starts = [0]
        for row in rows { starts.append(starts[starts.count - 1] + row.count) }
        self.starts = FrozenArray(starts)
    }

    /// The owner's to call, once nobody reads any longer.
    func deallocate() {
        elements.deallocate()
        starts.deallocate()
    }

    /// The number of rows.
    var count: Int { starts.count - 1 }

    /// A row, as long as the owner lives.
    @inline(__always)
    subscript(_ number: Int) -> UnsafeBufferPointer<Element> { elements[starts[number]..<starts[number + 1]] }
}

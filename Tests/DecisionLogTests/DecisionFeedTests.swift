import Testing

@testable import DecisionLog

@Suite("DecisionFeed")
struct DecisionFeedTests {
    @Test("remembers the last records in order")
    func recent() {
        let feed = DecisionFeed(kept: 3)
        #expect(feed.recent().isEmpty)
        for number in 0..<5 as Range<UInt64> { feed.publish(decision(number: number)) }
        #expect(feed.recent().map { $0.id } == (2..<5).map { decision(number: $0).id })
    }

    @Test("gives a follower what was and what comes, without a gap")
    func follows() async {
        let feed = DecisionFeed()
        feed.publish(decision(number: 1))
        let (recent, stream) = feed.follow()
        feed.publish(decision(number: 2))
        feed.finish()
        #expect(recent.map { $0.id } == [decision(number: 1).id])
        #expect(await collect(stream) == ["2"])
    }

    @Test("tells a slow follower how many records it missed, and never waits for it")
    func slow() async {
        let feed = DecisionFeed(kept: 1)
        let (_, stream) = feed.follow()
        for number in 0..<5000 as Range<UInt64> { feed.publish(decision(number: number)) }
        var iterator = stream.makeAsyncIterator()
        for _ in 0..<2 { _ = await iterator.next() }
        feed.publish(decision(number: 9999))
        feed.finish()
        var rest: [String] = []
        while let element = await iterator.next() { rest.append(text(element)) }
        #expect(rest.suffix(3) == ["4095", "missed 904", "9999"])
    }

    private func collect(_ stream: AsyncStream<DecisionFeed.Element>) async -> [String] {
        var result: [String] = []
        for await element in stream { result.append(text(element)) }
        return result
    }

    private func text(_ element: DecisionFeed.Element) -> String {
        switch element {
        case .record(let record): String(record.id.low & 0xFFFF_FFFF)
        case .missed(let count): "missed \(count)"
        }
    }
}

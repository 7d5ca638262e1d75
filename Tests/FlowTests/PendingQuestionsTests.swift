import Octets
import PacketHeaders
import Testing
import WireProtocols

@testable import Flow

@Suite("PendingQuestions")
struct PendingQuestionsTests {
    private let first = FlowSlot(index: 1)
    private let second = FlowSlot(index: 2)

    /// A question for `NAME.test`, as a message has it.
    private func question(_ name: String, type: UInt8 = 1) throws -> DNSQuestion {
        var bytes: [UInt8] = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, UInt8(name.utf8.count)]
        bytes += Array(name.utf8) + [4] + Array("test".utf8) + [0, 0, type, 0, 1]
        return try #require(try DNSMessage(parsing: bytes.span.bytes).question)
    }

    @Test("an answer counts once, on its flow, under its id, for its question")
    func once() throws {
        let asked = try question("a")
        var questions = PendingQuestions()
        questions.ask(asked, id: 7, flow: first, group: 0)
        #expect(questions.answer(asked, id: 8, flow: first, group: 0) == nil)
        #expect(questions.answer(asked, id: 7, flow: second, group: 0) == nil)
        #expect(questions.answer(asked, id: 7, flow: first, group: 1) == nil)
        #expect(questions.answer(try question("b"), id: 7, flow: first, group: 0) == nil)
        #expect(questions.answer(try question("a", type: 28), id: 7, flow: first, group: 0) == nil)
        #expect(questions.answer(nil, id: 7, flow: first, group: 0) == nil)
        #expect(questions.answer(asked, id: 7, flow: first, group: 0) == asked)
        #expect(questions.answer(asked, id: 7, flow: first, group: 0) == nil)
    }

    @Test("one agent's many questions push out its own oldest, nobody else's")
    func bound() throws {
        let asked = try question("a")
        var questions = PendingQuestions(limit: 4)
        questions.ask(asked, id: 1, flow: second, group: 1)
        for id in UInt16(0)..<100 { questions.ask(asked, id: id, flow: first, group: 0) }
        #expect(questions.answer(asked, id: 95, flow: first, group: 0) == nil)
        for id in UInt16(96)..<100 { #expect(questions.answer(asked, id: id, flow: first, group: 0) == asked) }
        #expect(questions.answer(asked, id: 1, flow: second, group: 1) == asked)
    }

    @Test("a question that is asked again under its id is still one")
    func again() throws {
        let asked = try question("a")
        var questions = PendingQuestions(limit: 4)
        for _ in 0..<10 { questions.ask(asked, id: 1, flow: first, group: 0) }
        #expect(questions.answer(asked, id: 1, flow: first, group: 0) == asked)
        questions.ask(asked, id: 1, flow: first, group: 0)
        questions.removeAll()
        #expect(questions.answer(asked, id: 1, flow: first, group: 0) == nil)
    }
}

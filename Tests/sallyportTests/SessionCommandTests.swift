import Control
import Testing

@testable import sallyport

@Suite("sallyport session")
struct SessionCommandTests {
    @Test("opens a session with the first line of standard input and prints its id, or all of it as JSON")
    func open() async throws {
        try await withDaemon { socket in
            let text = try await Program.run(
                "session open --agent bot --customer-token - --socket \(socket) <<EOF\n abc.d.e \nEOF")
            #expect(text.status == 0)
            #expect(text.output == "0123456789abcdef0123456789abcdef\n")
            let json = try await Program.run(
                "session open --customer-token - --ports 4000 --json --socket \(socket) <<EOF\nabc.d.e\nrest\nEOF")
            let report = try ControlCoding.decode(SessionReport.self, from: Array(json.output.utf8))
            #expect(report.customer == "abc.d.e")
        }
    }

    @Test("says why a token is refused, and answers 1")
    func refused() async throws {
        try await withDaemon { socket in
            let result = try await Program.run("session open --customer-token - --socket \(socket) <<EOF\nbad\nEOF")
            #expect(result.status == 1)
            #expect(result.output == "")
            #expect(
                result.complaint == "sallyport: sallyportd: Token refused: customer_token: the signature does not fit\n"
            )
        }
    }

    @Test("lists sessions with the first of their bindings")
    func list() async throws {
        try await withDaemon { socket in
            let result = try await Program.run("session list --socket \(socket)")
            let lines = result.output.split(separator: "\n")
            #expect(lines.count == 2)
            #expect(lines[0].hasPrefix("SESSION"))
            #expect(lines[1].hasSuffix("socket 18446744073709551615 and 1 more"))
        }
    }

    @Test("renews and closes")
    func renewAndClose() async throws {
        try await withDaemon { socket in
            let renewed = try await Program.run("session renew --customer-token - --socket \(socket) a <<EOF\nt\nEOF")
            #expect(renewed.output == "until 2027-01-15T09:00:00.000000Z\n")
            #expect(try await Program.run("session close --socket \(socket) a b").status == 0)
            let unknown = try await Program.run("session close --socket \(socket) none")
            #expect(unknown.status == 1)
            #expect(unknown.complaint.contains("there is no such session"))
        }
    }
}

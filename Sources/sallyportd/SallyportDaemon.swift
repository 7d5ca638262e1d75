import ArgumentParser

@main
struct SallyportDaemon: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "sallyportd", abstract: "The enforcement daemon.")
    mutating func run() throws {}
}

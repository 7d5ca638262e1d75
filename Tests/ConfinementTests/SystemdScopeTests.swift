import Testing

@testable import Confinement

@Suite struct SystemdScopeTests {
    @Test("asks for a scope below the agent's slice, ordered after the rules, and ends its own options")
    func command() {
        #expect(
            SystemdScope.command(slice: "sallyport-bot.slice", agent: "bot", running: ["sallyport", "run"]) == [
                "systemd-run", "--scope", "--quiet", "--collect", "--slice=sallyport-bot.slice",
                "--description=Confined agent bot", "--property=Wants=sallyport-firewall.service",
                "--property=After=sallyport-firewall.service", "--", "sallyport", "run",
            ])
    }
}

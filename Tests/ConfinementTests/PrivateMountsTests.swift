import Testing

@testable import Confinement

@Suite struct PrivateMountsTests {
    @Test("exposes plain paths below /run", arguments: ["/run/postgresql", "/run/my/app.sock"])
    func exposes(path: String) {
        #expect(throws: Never.self) { try PrivateMounts.requireExposable(path) }
    }

    @Test(
        "never exposes those who open connections for others, nor ourselves",
        arguments: [
            "/run/sallyport", "/run/sallyport/control.sock", "/run/dbus/system_bus_socket", "/run/systemd/private",
            "/run/systemd/resolve/io.systemd.Resolve", "/run/nscd/socket", "/run/user/1000", "/run/docker.sock",
        ])
    func refuses(path: String) {
        #expect(throws: ConfinementError.self) { try PrivateMounts.requireExposable(path) }
    }

    @Test(
        "takes no path that is not plain",
        arguments: ["", "/", "/run", "/run/", "/run/a/../dbus", "/run//dbus", "/run/./dbus", "run/a", "/var/run/dbus"])
    func refusesOddPaths(path: String) {
        #expect(throws: ConfinementError.self) { try PrivateMounts.requireExposable(path) }
    }
}

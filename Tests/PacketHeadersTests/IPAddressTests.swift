import Testing

@testable import PacketHeaders

@Suite struct IPAddressTests {
    @Test(
        "reads and writes canonical text",
        arguments: [
            ("198.18.0.1", "198.18.0.1"), ("::", "::"), ("::1", "::1"), ("fd00::1", "fd00::1"),
            ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
            ("::ffff:1.2.3.4", "::ffff:1.2.3.4"), ("1::", "1::"), ("64:ff9b::10.0.0.1", "64:ff9b::a00:1"),
            ("1:0:3:4:5:6:7:8", "1:0:3:4:5:6:7:8"),
        ])
    func canonicalText(text: String, canonical: String) {
        #expect(IPAddress(text)?.description == canonical)
    }

    @Test(
        "refuses what is no address",
        arguments: [
            "", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1.1", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
            "fe80::1%eth0", "g::1", ":1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", "12345::", "+1::", "::1.2.3.4.5",
            "1:2:3:4:5:6:7::8:9", "1::2:3:4:5:6:7:8",
        ])
    func refuses(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test("a prefix holds its addresses and no host bits")
    func prefixes() {
        #expect(IPPrefix("10.0.0.0/8")?.contains(IPAddress(v4: 0x0AFF_FFFF)) == true)
        #expect(IPPrefix("10.0.0.0/8")?.contains(IPAddress(v4: 0x0B00_0000)) == false)
        #expect(IPPrefix("10.0.0.1/8") == nil)
        #expect(IPPrefix("0.0.0.0/0")?.contains(IPAddress(v4: .max)) == true)
        #expect(IPPrefix("::/0")?.contains(IPAddress(v4: 1)) == false)
        #expect(IPPrefix("fd00::/8").flatMap { prefix in IPAddress("fdff::1").map(prefix.contains) } == true)
        #expect(IPPrefix("fd00::/65")?.contains(IPAddress(v6: 0xFD00 << 48, 1 << 63)) == false)
        #expect(IPPrefix("1.2.3.4/033") == nil)
        #expect(IPPrefix("1.2.3.4")?.length == 32)
    }
}

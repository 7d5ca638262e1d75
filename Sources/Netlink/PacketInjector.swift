import CNetfilter
import Glibc
import Octets

/// Sends whole IP packets of our own through raw sockets, with a mark that tells our rules so (raw(7), `IP_HDRINCL`).
public struct PacketInjector: ~Copyable {
    /// Packets that the kernel did not take.
    public private(set) var failureCount: UInt64 = 0
    private let v4: Int32
    private let v6: Int32

    /// Raw sockets of both families in this network namespace. Without IPv6 in the kernel only IPv4 is sent.
    /// - Parameter mark: the packet mark, set under CAP_NET_ADMIN.
    /// - Throws: without CAP_NET_RAW or CAP_NET_ADMIN.
    public static func open(mark: UInt32) throws(NetlinkError) -> PacketInjector {
        let v4 = try open(AF_INET, mark)
        do throws(NetlinkError) {
            return PacketInjector(v4: v4, v6: try open(AF_INET6, mark))
        } catch  where error.errorNumber == EAFNOSUPPORT {
            return PacketInjector(v4: v4, v6: -1)
        } catch {
            close(v4)
            throw error
        }
    }

    private init(v4: Int32, v6: Int32) {
        self.v4 = v4
        self.v6 = v6
    }

    deinit {
        close(v4)
        if v6 >= 0 { close(v6) }
    }

    /// Sends one packet, from its IP header. A packet that the kernel does not take now is counted, never sent later.
    public mutating func send(_ packet: RawSpan) {
        let status: Int
        switch packet.byteCount > 0 ? packet.byte(at: 0) >> 4 : 0 {
        case 4 where packet.byteCount >= 20:
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = packet.unsafeLoadUnaligned(fromByteOffset: 16, as: UInt32.self)
            status = Self.send(v4, packet, address)
        case 6 where packet.byteCount >= 40 && v6 >= 0:
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            withUnsafeMutableBytes(of: &address.sin6_addr) { target in
                for index in 0..<16 { target[index] = packet.byte(at: 24 + index) }
            }
            status = Self.send(v6, packet, address)
        default:
            status = -1
        }
        if status < 0 { failureCount &+= 1 }
    }

    private static func send<Address>(_ descriptor: Int32, _ packet: RawSpan, _ address: Address) -> Int {
        var address = address
        return packet.withUnsafeBytes { bytes in
            withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                    sendto(
                        descriptor, bytes.baseAddress, bytes.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL), generic,
                        socklen_t(MemoryLayout<Address>.size))
                }
            }
        }
    }

    private static func open(_ family: Int32, _ mark: UInt32) throws(NetlinkError) -> Int32 {
        let what = "raw socket"
        let descriptor = socket(family, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), Int32(IPPROTO_RAW))
        guard descriptor >= 0 else { throw NetlinkError(what: what, errorNumber: errno) }
        var mark = mark
        guard setsockopt(descriptor, SOL_SOCKET, SO_MARK, &mark, socklen_t(MemoryLayout<UInt32>.size)) == 0 else {
            let number = errno
            close(descriptor)
            throw NetlinkError(what: what, errorNumber: number)
        }
        return descriptor
    }
}

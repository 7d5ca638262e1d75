import CFuzzer
import Glibc
import Octets

/// The target that the environment names; read once.
private let target: Target = {
    let name = getenv("FUZZ_TARGET").map { String(cString: $0) } ?? ""
    guard let target = Target(rawValue: name) else {
        print("FUZZ_TARGET must be one of: " + Target.allCases.map { $0.rawValue }.joined(separator: " "))
        exit(2)
    }
    return target
}()

/// Hands an input to the target.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    target.run(RawSpan(_unsafeBytes: UnsafeRawBufferPointer(start: data, count: size)))
    return 0
}

@main
enum Main {
    static func main() {
        if CommandLine.arguments.contains("--list") {
            for target in Target.allCases { print(target.rawValue) }
            return
        }
        var count = CommandLine.argc
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
        exit(LLVMFuzzerRunDriver(&count, &arguments) { testOneInput($0, $1) })
    }
}

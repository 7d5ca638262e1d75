import CFuzzer
@_spi(Fuzzing) import Rego

@main
struct Main {
    static func main() {
        var count = CommandLine.argc
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
        _ = withUnsafeMutablePointer(to: &arguments) { pointer in
            pointer.withMemoryRebound(to: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?.self, capacity: 1) {
                LLVMFuzzerRunDriver(&count, $0) { data, size in
                    RegoFuzzing.scan(Array(UnsafeBufferPointer(start: data, count: size)))
                    return 0
                }
            }
        }
    }
}

import Testing

@testable import KernelRules

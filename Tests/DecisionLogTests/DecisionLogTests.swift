import Testing

@testable import DecisionLog

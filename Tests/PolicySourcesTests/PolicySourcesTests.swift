import Testing

@testable import PolicySources

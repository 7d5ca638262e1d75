/// Finds the groups whose values depend on base documents alone: neither on input, clock or chance, nor on anything that
/// a `with` may replace. Their values are computed when data is loaded.
struct Constancy {
    /// Numbers of the groups, in the order of planning; functions left out.
    private(set) var groups: [Int32] = []

    /// Built-ins that read the clock or speak to the host besides those that are declared to be not deterministic.
    private static let volatile: Set<String> = [
        "internal.print", "io.jwt.decode_verify", "io.jwt.encode_sign", "io.jwt.encode_sign_raw", "opa.runtime",
        "rand.intn",
        "time.now_ns",
        "trace", "uuid.rfc4122", "crypto.x509.parse_and_verify_certificates",
        "crypto.x509.parse_and_verify_certificates_with_options",
    ]

    init(_ planner: Planner) {
        var constant = planner.groups.map { !$0.isReplaceable }
        var calls: [[Int32]] = Array(repeating: [], count: planner.groups.count)
        for (number, group) in planner.groups.enumerated() where constant[number] {
            guard let found = Self.calls(group, planner) else {
                constant[number] = false
                continue
            }
            calls[number] = found
        }
        var changed = true
        while changed {
            changed = false
            for number in constant.indices where constant[number] {
                if calls[number].contains(where: { !constant[Int($0)] }) {
                    constant[number] = false
                    changed = true
                }
            }
        }
        for (number, group) in planner.groups.enumerated()
        where constant[number] && group.arguments == nil && group.isRule {
            groups.append(Int32(number))
        }
    }

    /// The groups that a group calls; nil where it does what makes it depend on a query.
    private static func calls(_ group: Group, _ planner: Planner) -> [Int32]? {
        var found: [Int32] = []
        for instruction in planner.code[Int(group.entry)..<Int(max(group.entry, group.end))] {
            switch instruction.op {
            case .input, .callReplaceable, .withBegin: return nil
            case .call: found.append(instruction.b)
            case .dispatch: found += planner.nodes[Int(instruction.b)].children.map(\.group)
            case .builtin:
                let name = planner.sites[Int(instruction.b)].name
                guard let declaration = BuiltinTable.declarations[name], declaration.isDeterministic,
                    !volatile.contains(name)
                else { return nil }
            case .indexBegin:
                for node in planner.indexes[Int(instruction.b)].nodes {
                    switch node.reference {
                    case .input, .part: return nil
                    case .slot, nil: break
                    }
                }
            default: break
            }
        }
        return found
    }
}

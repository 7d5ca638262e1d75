/// Writes values as YAML in block style, as `yaml.marshal` does.
enum YAMLWriter {
    static func text(_ value: Value) -> String {
        var out = ""
        write(value, 0, &out, inline: false)
        if !out.hasSuffix("\n") { out += "\n" }
        return out
    }

    private static func isEmpty(_ value: Value) -> Bool { value.isComposite && value.count == 0 }

    private static func write(_ value: Value, _ depth: Int, _ out: inout String, inline: Bool) {
        let indent = String(repeating: "  ", count: depth)
        switch value.tag {
        case .object where value.count > 0:
            for index in 0..<value.count {
                if index > 0 || !inline { out += indent }
                out += scalar(value.key(index)) + ":"
                let inner = value.element(index)
                if inner.isComposite, !isEmpty(inner) {
                    out += "\n"
                    write(inner, inner.tag == .object ? depth + 1 : depth, &out, inline: false)
                } else {
                    out += " " + scalar(inner) + "\n"
                }
            }
        case .array where value.count > 0, .set where value.count > 0:
            for index in 0..<value.count {
                if index > 0 || !inline { out += indent }
                out += "- "
                let inner = value.element(index)
                if inner.isComposite, !isEmpty(inner) {
                    write(inner, depth + 1, &out, inline: true)
                } else {
                    out += scalar(inner) + "\n"
                }
            }
        default: out += scalar(value) + "\n"
        }
    }

    private static func scalar(_ value: Value) -> String {
        switch value.tag {
        case .object: return "{}"
        case .array, .set: return "[]"
        case .string: return quotedIfNeeded(value.text)
        default: return RegoWriter.text(value)
        }
    }

    private static func quotedIfNeeded(_ text: String) -> String {
        let plain: Bool
        if let node = try? YAMLReader.read(text), case .string(let read) = node {
            plain = read == text && !text.contains("\n") && !text.contains(": ") && !text.contains(" #")
        } else {
            plain = false
        }
        return plain ? text : RegoWriter.quoted(text)
    }
}

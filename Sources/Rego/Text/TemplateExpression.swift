/// A text with regular expressions between delimiters, as one regular expression (`regex.template_match`).
enum TemplateExpression {
    static func pattern(
        _ template: [UnicodeScalar], open: UnicodeScalar, close: UnicodeScalar
    ) throws(BuiltinFailure) -> String {
        var result = "^"
        var level = 0
        var inner = String.UnicodeScalarView()
        for scalar in template {
            if scalar == open {
                level += 1
                if level == 1 {
                    inner = .init()
                    continue
                }
            } else if scalar == close {
                level -= 1
                if level == 0 {
                    result += "(" + String(inner) + ")"
                    continue
                }
                if level < 0 { throw .failed("mux: unbalanced braces in \"\(string(template))\"") }
            }
            if level > 0 {
                inner.append(scalar)
            } else {
                if "\\.+*?()|[]{}^$".unicodeScalars.contains(scalar) { result += "\\" }
                result.unicodeScalars.append(scalar)
            }
        }
        if level != 0 { throw .failed("mux: unbalanced braces in \"\(string(template))\"") }
        return result + "$"
    }

    private static func string(_ scalars: [UnicodeScalar]) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return String(view)
    }
}

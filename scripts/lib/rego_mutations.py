"""Modules that are almost right: mutations of given ones, and rules appended to them with mistakes of every kind."""
import re

TOKENS = re.compile(r'\s+|"(?:\\.|[^"\\\n])*"|`[^`]*`|[A-Za-z_][A-Za-z0-9_]*|[0-9]+(?:\.[0-9]+)?|:=|==|!=|<=|>=|#[^\n]*|.', re.S)
INSERTED = ["{", "}", "[", "]", "(", ")", ",", ".", ":", ":=", "=", "==", "|", "&", "+", "-", "*", "/", "%", "if", "else", "not",
            "some", "every", "in", "contains", "default", "package", "import", "as", "with", "true", "false", "null", "1", '"a"', "x",
            "_", "input", "data", ";", "\n", " ", "0", "and", "or", "1.5", "01", "$", "!", '$"{x}"', "`r`", "set()", "-1"]
BUILTINS = ["count", "sum", "startswith", "concat", "sprintf", "array.slice", "array.concat", "object.get", "object.union", "regex.match",
            "to_number", "net.cidr_contains", "json.patch", "json.marshal", "time.now_ns", "walk", "split", "union", "max", "sort", "abs",
            "object.keys", "glob.match", "io.jwt.decode", "numbers.range", "is_string", "type_name", "trim", "upper", "plus", "minus",
            "intersection", "graph.reachable", "any", "re_match", "cast_array", "print", "no.such", "bits.and", "format_int", "or", "eq"]


def literal(r, depth=0):
    kind = r.randrange(9 if depth < 3 else 5)
    if kind == 0:
        return r.choice(["1", "2.5", "-3", "0", "1e3"])
    if kind == 1:
        return r.choice(['"a"', '"b"', '"foo"', "`raw`"])
    if kind == 2:
        return r.choice(["true", "false", "null"])
    if kind == 3:
        return r.choice(["x", "y", "z", "_", "input.a", "input", "data.b", "zz_r", "zz_o.a", "zz_o.q", "zz_s", "zz_f(1)", "zz_a[0]", "zz_o", "i"])
    if kind == 4:
        return r.choice(["[]", "{}", "set()"])
    if kind == 5:
        return "[" + ", ".join(literal(r, depth + 1) for _ in range(r.randrange(1, 4))) + "]"
    if kind == 6:
        return "{" + ", ".join(literal(r, depth + 1) for _ in range(r.randrange(1, 3))) + "}"
    if kind == 7:
        return "{" + ", ".join(r.choice(['"a"', '"b"', "1", "x", "zz_r"]) + ": " + literal(r, depth + 1) for _ in range(r.randrange(1, 3))) + "}"
    return r.choice(["[x | x := {}]", "{{x | x = {}}}", "{{x: 1 | x := {}}}", "{}[_]", "{}.foo", "{}[0]", '{}["a"]', "({} + 1)", "({} | {{1}})",
                     "{}[x]"]).format(literal(r, depth + 1))


def call(r):
    name = r.choice(BUILTINS) if r.random() < 0.8 else r.choice(["zz_f", "zz_g", "zz_r", "data.zz.f", "x", "input.f"])
    return name + "(" + ", ".join(literal(r, 1) for _ in range(r.choice([0, 1, 1, 2, 2, 2, 3, 3, 4]))) + ")"


def expression(r, depth=0):
    kind = r.randrange(16)
    if kind < 3:
        return call(r)
    if kind < 5:
        return f"{r.choice('xyz')} := {r.choice([literal, lambda r: call(r)])(r)}"
    if kind < 8:
        return f"{literal(r)} {r.choice(['=', '==', '!=', '<', '>='])} {literal(r)}"
    if kind == 8:
        return f"some {r.choice(['x', 'y', 'x, y', 'i, x', '[x, y]'])} in {literal(r)}"
    if kind == 9:
        return f"some {r.choice(['x', 'y', 'x, y', 'i'])}"
    if kind == 10 and depth < 2:
        return f"every {r.choice(['x', 'i, x', '_'])} in {literal(r)} {{ {body(r, depth + 1)} }}"
    if kind == 11:
        return f"not {expression(r, 2)}"
    if kind == 12:
        return f"{expression(r, 2)} with {r.choice(['input', 'input.a', 'data.b', 'count', 'zz_f', 'zz_r', 'zz_o.a', 'x', 'walk', 'time.now_ns'])} as {literal(r)}"
    if kind == 13:
        return r.choice(["zz_o[x].b", "zz_o.a.b.c", "zz_a[x].y", "zz_s[x]", "zz_s.a", "zz_p[x][y]", "zz_p.q", "zz_t[x].u", "data[1]",
                         "data.x[y].z", "input[x][x]", "zz_f", "zz_f.a", "count.x", "zz_o[zz_o]", "zz_a[\"x\"]", "zz_o[[1]]", "x.y", "[1][x]"])
    if kind == 14:
        return f"{call(r)} {r.choice(['=', '==', ':=', '+', 'in'])} {literal(r)}"
    return literal(r)


def body(r, depth=0):
    return "; ".join(expression(r, depth) for _ in range(r.choice([1, 1, 2, 3])))


SUPPORT = """
zz_o := {"a": 1, "b": {"c": "d"}}
zz_a := [1, "a", null]
zz_s contains x if { some x in ["a", 1] }
zz_r := "text"
zz_p[x] := y if { some x, y in input.list }
zz_t[x].u := 1 if { some x in ["k"] }
zz_f(x) := count([x])
zz_g(x, y) := x if { y == "s" }
"""


def rule(r):
    kind = r.randrange(12)
    name = "zz_" + r.choice("abcdefghk")
    if kind < 6:
        return f"{name} if {{ {body(r)} }}"
    if kind == 6:
        return f"{name} contains {literal(r)} if {{ {body(r)} }}"
    if kind == 7:
        return f"{name} := {literal(r)} if {{ {body(r)} }} else := {literal(r)} if {{ {body(r)} }}"
    if kind == 8:
        return f"{name}({r.choice(['x', 'x, y', '_', '[x, y]', 'x, x', 'input', '1'])}) := {literal(r)} if {{ {body(r)} }}"
    if kind == 9:
        return f"{name}[{literal(r)}]{r.choice(['', '.b', '[y]'])} := {literal(r)} if {{ {body(r)} }}"
    if kind == 10:
        return r.choice([f"default {name} := {literal(r)}", f"{name} := {literal(r)}", f"import {r.choice(['data.a', 'input.x', 'data.zz.count'])}",
                         f"{name}.b.c := 1", f"{name} {literal(r)}", f"{name}", f"{name}.b contains {literal(r)}"])
    return f"{name} if {expression(r)}"


def mutate(r, module):
    """One module with one to three mistakes."""
    kind = r.randrange(10)
    if kind < 4:
        tokens = TOKENS.findall(module)
        solid = [i for i, t in enumerate(tokens) if not t.isspace()]
        for _ in range(r.choice([1, 1, 2, 3])):
            if len(solid) < 2:
                break
            at = r.choice(solid)
            other = r.choice(solid)
            action = r.randrange(7)
            if action == 0:
                tokens[at] = ""
            elif action == 1:
                tokens[at] += r.choice(["", " "]) + r.choice(INSERTED)
            elif action == 2:
                tokens[at] = r.choice(INSERTED)
            elif action == 3:
                tokens[at], tokens[other] = tokens[other], tokens[at]
            elif action == 4:
                tokens[at] = tokens[at] + tokens[at]
            elif action == 5:
                tokens[at] = tokens[other]
            else:
                tokens[at] = tokens[at] + "\n"
        return "".join(tokens)
    if kind == 4:
        return module[:r.randrange(1, max(2, len(module)))]
    if kind == 5:
        at = r.randrange(max(1, len(module)))
        return module[:at] + r.choice(["", r.choice("{}[](),.:=|\"`# \n\t;$!&x1é")]) + module[at + r.choice([0, 1]):]
    rules = "\n".join(rule(r) for _ in range(r.choice([1, 1, 1, 2, 3])))
    if kind == 6:
        return module + "\n" + rules + "\n"
    return module + SUPPORT + rules + "\n"

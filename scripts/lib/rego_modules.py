"""Generated modules, data and inputs, for rego-differential.

Bodies are built so that most are safe: a variable is used once it has a value.  Rules refer to earlier ones only, so that
nothing is recursive.
"""
import json

DATA = [
    {"a": [1, 2, 3], "o": {"x": 1, "y": [1, 2], "z": {"w": "s"}}, "s": ["p", "q", "pq"], "n": None, "e": [], "t": True},
    {"a": ["x", "y"], "o": {"x": "p", "y": {"k": 2}}, "s": ["p"], "t": False, "m": [[1, 2], [3, 4]]},
    {"a": [{"id": 1, "v": "p"}, {"id": 2, "v": "q"}], "o": {}, "s": ["q", "p", "q"], "m": {"p": ["q"], "q": []}},
]
INPUTS = [{"x": 1, "y": "p", "l": [1, 2, 3], "o": {"x": 1, "k": [True, None]}}, {"x": "p", "y": "q", "l": ["p", "pq"], "o": {"p": 2}}, {"x": None, "y": 2.5, "l": [], "o": {}}, {}]
PATHS = ["a", "o", "s", "o.x", "o.y", "o.z.w", "m", "t", "n", "a[0]", "s[1]", "o[\"x\"]"]
INPUT_PATHS = ["x", "y", "l", "o", "o.x", "l[0]", "zz", "o.k"]


CONSTANTS = [1, 2, 0, -1, 2.5, 10, "p", "q", "pq", "", True, False, None, [], {}, [1, 2], {"x": 1}, ["p"], ["p", "q"], [[1, 2], [3, 4]], {"p": {"x": 1}}, 3]


class Generator:
    def __init__(self, random):
        self.random = random
        self.rules = []
        self.counter = 0

    def choose(self, *options):
        return self.random.choice(options)

    def fresh(self):
        self.counter += 1
        return f"v{self.counter}"

    def literal(self):
        # Mostly from the data, so that the type checker has nothing to say.
        if self.random.random() < 0.85:
            return f"data.base.c[{self.random.randrange(len(CONSTANTS))}]"
        return self.choose("1", "2", "0", "-1", "2.5", "1e1", "10", '"p"', '"q"', '"pq"', '""', "true", "false", "null", "[]", "{}", "set()", "[1, 2]", '{"x": 1}', '{1, 2}', '{"p"}')

    def untyped(self, text):
        """The same, but of a type that nothing is known of."""
        return text if text.startswith(("data.base", "input")) or self.random.random() < 0.1 else f"any_of({text})"

    def reference(self, variables):
        kind = self.random.random()
        if kind < 0.35:
            return "data.base." + self.choose(*PATHS)
        if kind < 0.65:
            return "input." + self.choose(*INPUT_PATHS)
        plain = [rule for rule in self.rules if rule[1] != "function"]
        if kind < 0.85 and plain:
            name, form = self.random.choice(plain)
            text = self.choose(name, "data.test." + name)
            if form in ("set", "object") and self.random.random() < 0.5:
                text = f"any_of({text})[{self.expression(variables, 3)}]"
            return text
        if variables:
            return f"any_of({self.random.choice(variables)})"
        return "input.x"

    def expression(self, variables, depth=0):
        kind = self.random.random()
        if depth > 2 or kind < 0.25:
            return self.literal()
        if kind < 0.4 and variables:
            return self.random.choice(variables)
        if kind < 0.62:
            return self.reference(variables)
        inner = lambda: self.untyped(self.expression(variables, depth + 1))
        if kind < 0.7:
            return self.choose(lambda: f"[{inner()}, {inner()}]", lambda: f"{{{inner()}, {inner()}}}", lambda: f'{{"k": {inner()}, "l": {inner()}}}', lambda: f"[{inner()}]")()
        if kind < 0.82:
            return self.choose(
                lambda: f"count({inner()})", lambda: f"({inner()} {self.choose('+', '-', '*', '/', '%')} {inner()})", lambda: f"({inner()} {self.choose('|', '&')} {inner()})",
                lambda: 'sprintf("%v-%v", ' + f"[{inner()}, {inner()}])", lambda: f"object.get({inner()}, {inner()}, {inner()})", lambda: 'concat(",", ' + f"{inner()})", lambda: f"sort({inner()})",
                lambda: f"to_number({inner()})", lambda: f"upper({inner()})", lambda: f"array.concat({inner()}, {inner()})", lambda: f"object.union({inner()}, {inner()})",
                lambda: f"max({inner()})", lambda: f"type_name({inner()})", lambda: f"json.marshal({inner()})", lambda: f"split({inner()}, " + '"p")', lambda: f"sum({inner()})", lambda: f"startswith({inner()}, {inner()})",
                lambda: '$"t {' + inner() + '}"', lambda: f"object.keys({inner()})")()
        functions = [name for name, form in self.rules if form == "function"]
        if kind < 0.88 and functions:
            return f"{self.random.choice(functions)}({inner()}, {inner()})"
        name = self.fresh()
        body, bound = self.body(variables, depth + 1, 2)
        head = self.expression(bound, depth + 1)
        return self.choose(f"[{head} | {body}]", f"{{{head} | {body}}}", '{sprintf("%v", [' + head + "]): " + self.expression(bound, 3) + " | " + body + "}")

    def statement(self, variables, depth):
        """A statement and the variables that it gives values."""
        inner = lambda: self.untyped(self.expression(variables, depth + 1))
        kind = self.random.random()
        if kind < 0.25:
            name = self.fresh()
            return f"{name} := {inner()}", [name]
        if kind < 0.4:
            key, value = self.fresh(), self.fresh()
            if self.random.random() < 0.5:
                return f"some {value} in {self.choose(inner(), self.reference(variables))}", [value]
            return f"some {key}, {value} in {self.choose(inner(), self.reference(variables))}", [key, value]
        if kind < 0.5:
            name = self.fresh()
            return f"some {name}; {self.reference(variables)}[{name}]", [name]
        if kind < 0.56:
            return f"{self.reference(variables)}[_] == {inner()}", []
        if kind < 0.62:
            a, b = self.fresh(), self.fresh()
            return f"[{a}, {b}] = any_of({self.literal()})", [a, b]
        if kind < 0.68:
            return f"not {inner()} {self.choose('==', '!=', '<')} {inner()}", []
        if kind < 0.72:
            return f"not {inner()}", []
        if kind < 0.78:
            name = self.fresh()
            return f"every {name} in {inner()} {{ {name} {self.choose('!=', '>', '==')} {self.expression(variables + [name], 3)} }}", []
        if kind < 0.84:
            return f"{self.reference(variables)} == {inner()} with input.{self.choose('x', 'y', 'o.x', 'l')} as {self.literal()}", []
        if kind < 0.87:
            return f"{inner()} == {inner()} with data.base.{self.choose('a', 's', 'o.x')} as {self.literal()}", []
        if kind < 0.9:
            name = self.fresh()
            return f"{name} = {self.reference(variables)}", [name]
        if kind < 0.95:
            return f"{inner()} {self.choose('==', '!=', '<', '<=', '>', '>=')} {inner()}", []
        if kind < 0.97:
            path = self.choose('_', '["x"]')
            return f"walk({inner()}, [{path}, {self.literal()}])", []
        return inner(), []

    def body(self, variables, depth=0, longest=4):
        statements, bound = [], list(variables)
        for _ in range(self.random.randint(1, longest)):
            text, names = self.statement(bound, depth)
            statements.append(text)
            bound += names
        return "; ".join(statements), bound

    def rule(self, number):
        form = self.choose("complete", "complete", "set", "object", "function", "else", "nested")
        name = f"r{number}" if form != "function" else f"f{number}"
        lines = []
        if form == "complete":
            if self.random.random() < 0.4:
                lines.append(f"default {name} := {self.choose('0', '[]', 'null', chr(34) + chr(34))}")
            for _ in range(self.random.randint(1, 3)):
                body, bound = self.body([])
                value = self.choose("", f" := {self.expression(bound, 1)}")
                lines.append(f"{name}{value} if {{ {body} }}")
        elif form == "set":
            for _ in range(self.random.randint(1, 3)):
                body, bound = self.body([])
                lines.append(f"{name} contains {self.expression(bound, 1)} if {{ {body} }}")
        elif form == "object":
            for _ in range(self.random.randint(1, 2)):
                body, bound = self.body([])
                key = self.choose(self.literal(), *(bound or ["1"]))
                lines.append(f"{name}[{key}] := {self.expression(bound, 1)} if {{ {body} }}")
        elif form == "function":
            for _ in range(self.random.randint(1, 2)):
                a = self.choose("a", "a", "a", "1", '"p"')
                body, bound = self.body([x for x in (a, "b") if x in ("a", "b")])
                value = self.choose("", f" := {self.expression(bound, 1)}")
                lines.append(f"{name}({a}, b){value} if {{ {body} }}")
        elif form == "else":
            body, bound = self.body([])
            text = f"{name} := {self.expression(bound, 1)} if {{ {body} }}"
            for _ in range(self.random.randint(1, 2)):
                body, bound = self.body([])
                text += f" else := {self.expression(bound, 1)} if {{ {body} }}"
            lines.append(text)
        else:
            body, bound = self.body([])
            lines.append(f"{name}.x := {self.expression(bound, 1)} if {{ {body} }}")
            body, bound = self.body([])
            lines.append(f"{name}.y contains {self.expression(bound, 1)} if {{ {body} }}")
            if self.random.random() < 0.5:
                body, bound = self.body([])
                lines.append(f"{name}[k].z := {self.expression(bound, 1)} if {{ some k in [\"m\", \"n\"]; {body} }}")
        self.rules.append((name, {"function": "function", "set": "set", "object": "object"}.get(form, "complete")))
        return "\n".join(lines)


def generate(random, count, only):
    for _ in range(count):
        generator = Generator(random)
        rules = [generator.rule(number) for number in range(random.randint(1, 5))]
        module = 'package test\n\nimport rego.v1\n\nany_of(x) := object.get({"x": x}, "x", null)\n\n' + "\n\n".join(rules) + "\n"
        names = [name for name, form in generator.rules if form != "function"]
        query = "x = data.test" + (f".{random.choice(names)}" if names and random.random() < 0.85 else "")
        yield {"modules": [module], "data": {"base": dict(random.choice(DATA), c=CONSTANTS)}, "query": query, "input_term": json.dumps(random.choice(INPUTS))}

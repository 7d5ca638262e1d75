// Confines itself and becomes a program, as `sallyport run` does, for tests: without a configuration, and with single
// steps left out, so that each test can show that its step is what stops the attempt.
//
// usage: confinement-launcher --cgroup PATH --user USER [--hide DIRECTORY] [--omit STEP]... -- COMMAND...

import Confinement
import Glibc

func complain(_ text: String) {
    let bytes = Array((text + "\n").utf8)
    _ = write(STDERR_FILENO, bytes, bytes.count)
}

var cgroup = "/"
var user = "nobody"
var hidden: [String] = []
var omitted: Set<ConfinementStep> = []
var arguments = CommandLine.arguments.dropFirst()

while let name = arguments.popFirst(), name != "--" {
    guard let value = arguments.popFirst() else { exit(2) }
    switch name {
    case "--cgroup": cgroup = value
    case "--user": user = value
    case "--hide": hidden.append(value)
    case "--omit":
        guard let step = ConfinementStep(rawValue: value) else { exit(2) }
        omitted.insert(step)
    default: exit(2)
    }
}
// A confinement with a hole never passes the last step.
if !omitted.isEmpty { omitted.insert(.verification) }
do throws(ConfinementError) {
    try CgroupHierarchy.current().enter(cgroup)
    var confinement = Confinement(cgroup: cgroup, user: try TargetUser.named(user))
    confinement.hiddenDirectories = hidden
    for remark in try confinement.apply(ConfinementStep.allCases.filter({ !omitted.contains($0) })) {
        complain("remark: \(remark)")
    }
    let environment = confinement.user.environment(from: ["PATH": "/usr/bin:/bin"])
    try Confinement.execute(Array(arguments), environment: environment)
} catch {
    complain("\(error)")
    exit(error.exitStatus)
}

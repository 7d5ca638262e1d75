// Rego: the language of the Open Policy Agent, embedded.
//
// A policy is compiled once into a program for a small register machine and evaluated synchronously by one `Evaluator`
// for each thread, without Foundation, locks or reference counting on the way of a query.
//
//     let policy = try CompiledPolicy(modules: [("egress.rego", source)], data: try RegoValue(json: dataText))
//     let decision = try policy.entryPoint("data.sallyport.egress.decision")     // or policy.prepare(query: "...")
//
//     let evaluator = Evaluator(policy)                     // one for each thread; keep it
//     let input = evaluator.makeInput { builder in          // values are built where the machine reads them: no JSON
//         builder.object { object in
//             object.set("stage", "hello")
//             object.object("destination") { $0.set("host", "api.example.com"); $0.set("port", 443) }
//         }
//     }
//     let result = try evaluator.evaluate(decision, input: input, time: nanosecondsSinceEpoch)
//     result.value                                          // RegoValue?, nil where the document is undefined
//     result.rule                                           // the rule that decided: file, row, column, name
//     result.inputPathsRead, result.readClock, result.readRandom     // what a decision cache may rely on
//
// Data is replaced without recompiling by `policy.replacing(data:)`; JSON and YAML become values by `RegoValue(json:)`
// and `RegoValue(yaml:)`, with their number literals kept. `RegoTestRunner` runs `test_` rules. `CompileOptions` has what
// tools want and packets do not pay for: schemas, strictness, `print` for a sink, and instrumented programs that tell an
// `Observation` of their steps.
//
// Imports: CRE2 (regular expressions), JOSE and CLibcrypto (tokens, digests), BigInt, Yams; nothing of the rest of
// Sallyport.

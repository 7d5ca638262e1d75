print("rego-conformance")

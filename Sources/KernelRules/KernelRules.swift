// KernelRules

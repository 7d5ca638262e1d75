import ArgumentParser
import Configuration
import KernelRules

/// `sallyport rules`: the kernel's half.
struct RulesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rules", abstract: "Shows, loads, removes and checks the kernel's rules.",
        discussion: "They confine what the configuration names and touch nothing else.",
        subcommands: [Render.self, Apply.self, Remove.self, Check.self])

    /// The rules of the configuration that an option names.
    private static func ruleSet(_ options: ConfigurationOptions) throws -> RuleSet {
        let configuration = try options.load()
        return RuleSet(KernelRulesParameters(configuration), stateDirectory: configuration.stateDirectory)
    }

    /// What a step on the kernel gives, its failure as a command's.
    private static func attempt<Result>(_ body: () throws(KernelRulesError) -> Result) throws -> Result {
        do throws(KernelRulesError) {
            return try body()
        } catch {
            throw CommandFailure.badInput(error.description)
        }
    }

    /// `sallyport rules render`.
    struct Render: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Prints the rules as nft(8) reads them.")

        @OptionGroup var options: ConfigurationOptions

        func run() throws {
            print(try ruleSet(options).render(.native))
        }
    }

    /// `sallyport rules apply`.
    struct Apply: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Loads the rules, or brings those that are loaded up to date, in one transaction.")

        @OptionGroup var options: ConfigurationOptions

        func run() throws {
            let configuration: Configuration
            do {
                configuration = try options.load()
            } catch {
                if options.path == nil { RulesCommand.closeMeanwhile() }
                throw error
            }
            let rules = RuleSet(KernelRulesParameters(configuration), stateDirectory: configuration.stateDirectory)
            let backend = try attempt { () throws(KernelRulesError) in try rules.apply() }
            if options.path == nil { LastGoodConfiguration.remember() }
            print("table inet sallyport is in place (\(backend == .native ? "nft_queue" : "xt_NFQUEUE"))")
        }
    }

    /// A wrong configuration must not leave a machine that has just booted without rules: those of the last good one are
    /// loaded, and where there was none, those that confine the slice. Rules that are there stay as they are.
    private static func closeMeanwhile() {
        let configuration = LastGoodConfiguration.load() ?? Configuration()
        let rules = RuleSet(KernelRulesParameters(configuration), stateDirectory: configuration.stateDirectory)
        do throws(KernelRulesError) {
            guard try !rules.isLoaded() else { return }
            try rules.apply()
            Console.complain("rules: those of the last good configuration are in place until this one is corrected")
        } catch {
            Console.complain(error.description)
        }
    }

    /// `sallyport rules remove`.
    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Takes the rules out and restores what apply changed: agents are confined no more.")

        @OptionGroup var options: ConfigurationOptions

        func run() throws {
            let rules = try ruleSet(options)
            try attempt { () throws(KernelRulesError) in try rules.remove() }
            print("table inet sallyport is gone")
        }
    }

    /// `sallyport rules check`.
    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Compares what the kernel has with what should be there. Exit status 1 where it differs.")

        @OptionGroup var options: ConfigurationOptions

        func run() throws {
            let rules = try ruleSet(options)
            let problems = try attempt { () throws(KernelRulesError) in try rules.check() }
            guard problems.isEmpty else { throw CommandFailure.no(problems.joined(separator: "\n")) }
            print("table inet sallyport is in place")
        }
    }
}

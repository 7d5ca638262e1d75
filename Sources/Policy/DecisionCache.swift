/// What one queue thread remembers of a policy's decisions. It never changes a decision's meaning: an answer is kept with
/// every fact that the policy read for it, and given again only to an input that agrees in all of them, byte for byte. A
/// policy is deterministic, so such an input makes it read the same facts and answer the same.
///
/// A policy reads different facts for different inputs (a stage, a host with a path rule). Each set of fields that was ever
/// read is a *plan*; a look-up tries them in turn, at most `maximumPlans`. Bounded: over `capacity` answers the one that was
/// unused longest gives way.
struct DecisionCache: ~Copyable {
    /// Answers kept at most.
    let capacity: Int
    private var plans: [InputFieldSet] = []
    private var slots: [UInt64: Int] = [:]
    private var entries: [Entry] = []
    private var hand = 0
    private let hashMask: UInt64
    private let fingerprint = Fingerprint()

    private struct Entry {
        var hash: UInt64
        var plan: InputFieldSet
        /// A fact a field of the plan, in the order of the enum.
        var facts: [InputFact?]
        var decision: PolicyDecision
        var wasUsed: Bool
    }

    /// Read sets beyond these are not kept: their decisions are made anew each time.
    static let maximumPlans = 32
    /// An answer whose facts are larger is not kept, so that an agent's long paths and headers do not fill memory.
    static let maximumFactBytes = 1024

    /// An empty cache for `capacity` answers. Fewer bits in `hashMask` make more inputs collide; a collision costs an
    /// answer its place, never its meaning.
    init(capacity: Int, hashMask: UInt64 = .max) {
        self.capacity = capacity
        self.hashMask = hashMask
        slots.reserveCapacity(capacity)
    }

    /// How many answers are kept now.
    var count: Int { entries.count }

    /// The kept answer to an input that the policy could not tell from `input`. Does not allocate.
    mutating func decision(for input: PolicyInput) -> PolicyDecision? {
        var hashes = FieldHashes(fingerprint)
        for plan in plans {
            guard let slot = slots[hashes.combined(plan, of: input) & hashMask], entries[slot].plan == plan,
                Self.agree(entries[slot].facts, plan, input)
            else { continue }
            entries[slot].wasUsed = true
            return entries[slot].decision
        }
        return nil
    }

    /// Keeps `decision`, for which the policy read exactly `fields` of `input`. A decision that read the clock is not kept.
    mutating func remember(_ decision: PolicyDecision, for input: PolicyInput, reading fields: InputFieldSet) {
        guard capacity > 0, !fields.contains(.time) else { return }
        if !plans.contains(fields) {
            guard plans.count < Self.maximumPlans else { return }
            plans.append(fields)
        }
        var facts: [InputFact?] = []
        fields.forEach { facts.append($0.fact(of: input)) }
        guard facts.reduce(0, { $0 + ($1?.byteCount ?? 0) }) <= Self.maximumFactBytes else { return }
        var hashes = FieldHashes(fingerprint)
        let hash = hashes.combined(fields, of: input) & hashMask
        let entry = Entry(hash: hash, plan: fields, facts: facts, decision: decision, wasUsed: false)
        if let slot = slots[hash] {
            entries[slot] = entry
        } else if entries.count < capacity {
            slots[hash] = entries.count
            entries.append(entry)
        } else {
            while entries[hand].wasUsed {
                entries[hand].wasUsed = false
                hand = (hand + 1) % capacity
            }
            slots[entries[hand].hash] = nil
            slots[hash] = hand
            entries[hand] = entry
            hand = (hand + 1) % capacity
        }
    }

    private static func agree(_ facts: [InputFact?], _ plan: InputFieldSet, _ input: PolicyInput) -> Bool {
        var left = plan.rawValue
        var position = 0
        while left != 0 {
            guard let field = InputField(rawValue: UInt8(left.trailingZeroBitCount)) else { return false }
            switch (facts[position], field.fact(of: input)) {
            case (nil, nil): break
            case (let kept?, let asked?): if !kept.isIdentical(to: asked) { return false }
            case (nil, _?), (_?, nil): return false
            }
            left &= left &- 1
            position += 1
        }
        return true
    }
}

/// The fingerprints of an input's fields, each made once, when the first plan needs it.
private struct FieldHashes {
    let hash: Fingerprint
    private var known: UInt64 = 0
    private var values = InlineArray<64, UInt64>(repeating: 0)

    init(_ hash: Fingerprint) {
        self.hash = hash
    }

    mutating func combined(_ plan: InputFieldSet, of input: PolicyInput) -> UInt64 {
        var combined = plan.rawValue
        var left = plan.rawValue
        while left != 0 {
            let position = left.trailingZeroBitCount
            if known & 1 << UInt64(position) == 0, let field = InputField(rawValue: UInt8(position)) {
                values[position] = field.fact(of: input)?.fingerprint(hash) ?? 0
                known |= 1 << UInt64(position)
            }
            combined = hash.mix(combined ^ values[position])
            left &= left &- 1
        }
        return combined
    }
}

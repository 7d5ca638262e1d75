/// What a reference that leads nowhere may mean.
enum Spelling {
    /// The reference with another key at `index`: of `alternatives` the nearest one, else one of the same name elsewhere
    /// in `type`, which is that of the reference's head. Nil where nothing is near.
    static func suggestion(
        _ reference: [Term], _ index: Int, _ alternatives: [String], below type: RegoType?
    ) -> String? {
        guard case .string(let name) = reference[index].value else { return nil }
        if let nearest = nearest(to: name, of: alternatives) {
            var meant = reference
            meant[index] = Term(.string(nearest))
            return TermPrinter.text(meant)
        }
        guard let type, let path = path(to: name, in: type, depth: 0) else { return nil }
        return TermPrinter.text([reference[0]] + path.map { Term(.string($0)) } + reference.dropFirst(index + 1))
    }

    /// The alternative that takes the fewest changes; nil where all take too many.
    static func nearest(to name: String, of alternatives: [String]) -> String? {
        let most = max(1, name.count / 3)
        var best: (name: String, distance: Int)?
        for alternative in alternatives {
            let distance = distance(Array(name.lowercased()), Array(alternative.lowercased()))
            if distance <= most, distance < best?.distance ?? .max { best = (alternative, distance) }
        }
        return best?.name
    }

    /// Insertions, deletions, substitutions and swaps of neighbours between two texts.
    private static func distance(_ a: [Character], _ b: [Character]) -> Int {
        var rows = [Array(0...b.count)]
        for (i, left) in a.enumerated() {
            var row = [i + 1]
            for (j, right) in b.enumerated() {
                var least = min(rows[i][j + 1] + 1, row[j] + 1, rows[i][j] + (left == right ? 0 : 1))
                if i > 0, j > 0, left == b[j - 1], right == a[i - 1] { least = min(least, rows[i - 1][j - 1] + 1) }
                row.append(least)
            }
            rows.append(row)
        }
        return rows[a.count][b.count]
    }

    /// The shortest path to a key of this name, the first in order of keys.
    private static func path(to name: String, in type: RegoType, depth: Int) -> [String]? {
        guard depth < 4, case .object(let properties, _) = type else { return nil }
        if properties.contains(where: { $0.key.string == name }) { return [name] }
        var shortest: [String]?
        for property in properties {
            guard let key = property.key.string, let inner = property.type,
                let path = path(to: name, in: inner, depth: depth + 1)
            else { continue }
            if path.count + 1 < shortest?.count ?? .max { shortest = [key] + path }
        }
        return shortest
    }
}

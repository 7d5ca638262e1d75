package a
p contains x if { some x, y in {"a": [1, 2.5e3]}; not y == null; $"a {x}" != `raw` }

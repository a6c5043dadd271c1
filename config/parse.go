package config

// Parse reads the file main and everything it includes for the director opt.ConfigID. The
// tree holds what could be understood even when there are errors; a caller must not run
// it then (Diagnostics.HasErrors). Parse never panics and always ends (limits.go).
func Parse(main string, src Source, opt Options) (*Config, Diagnostics) {
	cfg, ds, _ := parse(main, src, opt)
	return cfg, ds
}

// parse also returns the config-ids that conditions of the file compare with.
func parse(main string, src Source, opt Options) (*Config, Diagnostics, []word) {
	s := &sink{}
	b := newBuilder(s, theSchema)
	r := &reader{src: src, id: opt.ConfigID, sink: s, out: b}
	r.main(main)
	c := &ctx{sink: s, schema: theSchema, cfg: &Config{}}
	if !r.stopped { // otherwise the tree is cut off anywhere: more findings would mislead
		c.walk(b.finish(), "")
		c.finish()
	}
	s.list.Sort()
	return c.cfg, s.list, r.ids
}

package config

// Parse reads the file main and everything it includes for the director opt.ConfigID. The
// tree holds what could be understood even when there are errors; a caller must not run
// it then (Diagnostics.HasErrors). Parse never panics and always ends (limits.go).
func Parse(main string, src Source, opt Options) (*Config, Diagnostics) {
	cfg, ds, _ := parse(main, src, opt)
	return cfg, ds
}

// Lint is Parse for somebody who wants the findings only: services are judged one by one
// and not kept, so that memory does not grow with their number.
func Lint(main string, src Source, opt Options) Diagnostics {
	_, ds, _ := read(main, src, opt, mode{light: true})
	return ds
}

// parse also returns the config-ids that conditions of the file compare with.
func parse(main string, src Source, opt Options) (*Config, Diagnostics, []word) {
	return read(main, src, opt, mode{})
}

// LintTree is Lint that also returns the tree, which lacks the services, and the config-ids that conditions of the file name, in
// the order of their first use: the directors it was written for.
func LintTree(main string, src Source, opt Options) (cfg *Config, ds Diagnostics, ids []string) {
	cfg, ds, words := read(main, src, opt, mode{light: true})
	for _, w := range words {
		ids = append(ids, w.text)
	}
	return cfg, ds, ids
}

// mode is how a reading is done; what it finds is always the same.
type mode struct {
	light bool // services are not kept
	slow  bool // no short way for plain lines
}

func read(main string, src Source, opt Options, how mode) (*Config, Diagnostics, []word) {
	s := &sink{}
	r := &reader{src: src, id: opt.ConfigID, sink: s, slow: how.slow}
	c := &ctx{sink: s, schema: theSchema, cfg: &Config{}, strict: &r.strict, light: how.light}
	c.into = &c.cfg.Settings
	c.modes, _ = src.(Modes)
	r.out = newBuilder(s, theSchema, c.top)
	r.main(main)
	if !r.stopped { // otherwise the file is cut off anywhere: more findings would mislead
		r.out.finish()
		c.finish()
	}
	return c.cfg, s.close(), r.ids
}

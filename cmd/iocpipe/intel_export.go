package main

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"iocpipe/extract"
	"iocpipe/filter/annotate"
	"iocpipe/intel"
	"iocpipe/intel/local"
	"iocpipe/intel/local/export"
)

// exportFlags are the flags of intel export.
type exportFlags struct {
	format, out, verdicts, types string
	sources                      []string
	seen                         days
	bulk                         bool
}

func newIntelExportCommand(con console) *cobra.Command {
	var f exportFlags
	cmd := storeCommand("export", "Write the local store as other tools read it", func(path, _ string, _ []string) error {
		return f.run(con, path)
	})
	cmd.Args = exactArgs(0)
	cmd.Example = `  iocpipe intel export --format wazuh-cdb --out /var/ossec/etc/lists/ioc
  iocpipe intel export --format stix --verdict malicious,undecided > bundle.json`
	flags := cmd.Flags()
	flags.StringVar(&f.format, "format", string(export.Plain), formatNames())
	flags.StringVar(&f.out, "out", "-", "`FILE`, or a folder for formats of several files, written beside and renamed; - is standard output")
	flags.StringVar(&f.verdicts, "verdict", intel.Malicious.String(), "only these: malicious, related, undecided, unknown, benign")
	flags.StringVar(&f.types, "types", "all", "only these: ip, domain, email, hash, md5, sha1, sha256, sha512, antivirus")
	flags.StringArrayVar(&f.sources, "source", nil, "only what this source says; may be repeated")
	flags.Var(&f.seen, "seen", "only what was seen or added within this time, as 30d")
	flags.BoolVar(&f.bulk, "bulk", false, "ecs-indicator as the body of Elasticsearch's _bulk, with an _id for each")
	return cmd
}

func formatNames() string {
	var names []string
	for _, f := range export.Formats {
		names = append(names, string(f))
	}
	return "one of " + strings.Join(names, ", ")
}

func (f *exportFlags) run(con console, path string) error {
	form, err := export.ParseFormat(f.format)
	if err != nil {
		return usagef("--format: %v", err)
	}
	opt := export.Options{Now: time.Now(), Bulk: f.bulk}
	if opt.Verdicts, err = parseVerdicts(f.verdicts); err != nil {
		return usagef("--verdict: %v", err)
	}
	if opt.Types, err = extract.ParseTypes(f.types); err != nil {
		return usagef("--types: %v", err)
	}
	if f.bulk && form != export.ECS {
		return usagef("--bulk: only with --format %s", export.ECS)
	}
	if f.seen > 0 {
		opt.Since = opt.Now.Add(-time.Duration(f.seen))
	}
	store, err := openStore(path)
	if err != nil {
		return err
	}
	entries, err := f.entries(store)
	if err != nil {
		return err
	}
	var result export.Result
	if f.out == "-" {
		result, err = export.Write(con.stdout, form, entries, opt)
	} else {
		result, err = export.File(f.out, form, entries, opt)
	}
	if err != nil {
		return fmt.Errorf("intel export: %w", err)
	}
	fmt.Fprintf(con.stderr, "iocpipe: %s\n", exportWords(result))
	return nil
}

// exportWords says in one line what became of the values.
func exportWords(r export.Result) string {
	text := thousands(r.Written) + " written"
	if r.Reduced > 0 {
		text += fmt.Sprintf(", %s of them without the relations they name", thousands(r.Reduced))
	}
	separator := "; left out: "
	for _, reason := range slices.Sorted(maps.Keys(r.LeftOut)) {
		text += fmt.Sprintf("%s%s (%s)", separator, reason, thousands(r.LeftOut[reason]))
		separator = ", "
	}
	return text
}

// entries are those of the sources that are asked for.
func (f *exportFlags) entries(store *local.Store) (iter.Seq2[intel.Entry, error], error) {
	if len(f.sources) == 0 {
		return store.Entries(), nil
	}
	for _, name := range f.sources {
		if name != local.ByHand && !slices.ContainsFunc(store.Sources(), func(s local.Source) bool { return s.Name == name }) {
			return nil, usagef("--source %q: the store has no such source; iocpipe intel ls lists them", annotate.Safe(name))
		}
	}
	return func(yield func(intel.Entry, error) bool) {
		for e, err := range store.Entries() {
			if err == nil && !slices.Contains(f.sources, e.Source) {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}, nil
}

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"iocpipe/filter/annotate"
	"iocpipe/intel"
	"iocpipe/intel/local"
	"iocpipe/intel/local/format"
)

// samplesKept is how many of the refused records of a source are kept for intel ls --refused; toldRefused how many of
// them are told at once.
const samplesKept, toldRefused = 100, 10

// importFlags are the flags of intel import.
type importFlags struct {
	name, kind, vote string
	expires          days
	strict, allowRed bool
}

func newIntelImportCommand(con console) *cobra.Command {
	var f importFlags
	cmd := storeCommand("import SOURCE…", "Import files and folders of every format into the local store", func(path, _ string, sources []string) error {
		return f.run(con, path, sources)
	})
	cmd.Args = someArgs
	cmd.Long = `Import reads lists of intelligence into the host's local store: plain lists, CSV with named columns, abuse.ch URLhaus,
ThreatFox, Feodo and MalwareBazaar, Spamhaus DROP, hosts files, MISP events, feeds and warninglists, STIX 2.x, OTX
pulses, OpenIOC, Maltrail trails, IPsum, and report lines; gzip, zstd, bzip2 and zip, too. The format is told by the
content. What a source of the same name held before is replaced. A list in which nothing can be used, or of which more
than half is refused, changes nothing.

` + exitCodes + "."
	cmd.Example = `  iocpipe intel import feodo.csv urlhaus.csv.zip --strict
  iocpipe intel import --name partners --vote undecided partners/`
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "name of the source, which all SOURCEs are then part of (default: each file's, without extensions)")
	flags.StringVar(&f.kind, "format", "", fmt.Sprintf("format, when the content does not tell it: %v", format.Kinds()))
	flags.StringVar(&f.vote, "vote", "", "what being listed means: malicious, undecided or benign (default: what the format says)")
	flags.Var(&f.expires, "expires", "how long what is listed holds that says nothing of it itself, as 30d")
	flags.BoolVar(&f.strict, "strict", false, "change nothing of a source when a record of it is refused")
	flags.BoolVar(&f.allowRed, "allow-red", false, "take what is marked TLP:RED, too")
	return cmd
}

func (f *importFlags) run(con console, path string, sources []string) error {
	opt := format.Options{Kind: format.Kind(f.kind), Now: time.Now(), AllowRed: f.allowRed}
	if f.vote != "" {
		votes, err := parseVote(f.vote)
		if err != nil {
			return err
		}
		opt.Votes = &votes
	}
	if f.kind != "" && !slices.Contains(format.Kinds(), opt.Kind) {
		return usagef("--format %q: use one of %v", annotate.Safe(f.kind), format.Kinds())
	}
	if err := makeFolder(path); err != nil {
		return err
	}
	bar := newProgress(con, "reading")
	defer bar.finish()
	stdin := func() io.Reader { return con.stdin }
	var lists []*importing
	unread := false
	for _, source := range sources {
		for file, err := range filesOf(source) {
			if err != nil {
				unread = true // the others are imported all the same
				fmt.Fprintf(con.stderr, "iocpipe: intel import: %s\n", oneLine(err.Error()))
				continue
			}
			lists = f.add(lists, file, importing{con: con, opt: opt, bar: bar, stdin: stdin, strict: f.strict, expires: time.Duration(f.expires)})
		}
	}
	if len(lists) > 1 && slices.Contains(sources, "-") {
		kept, err := spool(con.stdin)
		if err != nil {
			return fmt.Errorf("intel import: standard input: %w", err)
		}
		defer kept.Close()
		for _, l := range lists {
			l.stdin = func() io.Reader { return io.NewSectionReader(kept, 0, math.MaxInt64) }
		}
	}
	for _, list := range lists {
		if list.opt.Source == local.ByHand {
			return usagef("intel import %s: %s is the name of what was added by hand: give another with --name", annotate.Safe(list.files[0]), local.ByHand)
		}
	}
	err := importAll(con, path, lists)
	if unread && err == nil {
		return exitError{exitFailed, ""}
	}
	return err
}

// spool copies r to a file without a name: the sources are read again when one of them is no good.
func spool(r io.Reader) (*os.File, error) {
	file, err := os.CreateTemp("", "iocpipe-*.list")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(file.Name()) // where that is not possible while it is open, the system clears it up
	if _, err := io.Copy(file, r); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// filesOf yields the files of one SOURCE; - is standard input.
func filesOf(source string) func(yield func(string, error) bool) {
	if source == "-" {
		return func(yield func(string, error) bool) { yield(source, nil) }
	}
	return format.Files(source)
}

// add adds a file to the source that it is part of.
func (f *importFlags) add(lists []*importing, file string, list importing) []*importing {
	name := f.name
	if name == "" {
		name = "stdin"
		if file != "-" {
			name = format.SourceName(file)
		}
	}
	for _, l := range lists {
		if l.opt.Source == name {
			l.files = append(l.files, file)
			return lists
		}
	}
	list.opt.Source, list.files = name, []string{file}
	return append(lists, &list)
}

// An importing is one source while it is imported.
type importing struct {
	con     console
	opt     format.Options
	files   []string
	bar     *progress
	stdin   func() io.Reader // from its beginning
	strict  bool
	expires time.Duration

	taken, faults int
	told          []string // the first faults
	kinds         []string
	source        local.Source
	err           error
}

// importAll imports the sources in one step, but for those that are no good, which it tells.
func importAll(con console, path string, lists []*importing) error {
	failed := false
	for {
		var imports []*local.Import
		for _, l := range lists {
			imports = append(imports, l.start())
		}
		if len(imports) == 0 {
			return exitError{exitFailed, ""}
		}
		results, err := local.Replace(path, imports...)
		bad := slices.IndexFunc(lists, func(l *importing) bool { return l.err != nil })
		if bad >= 0 {
			failed = true
			fmt.Fprintf(con.stderr, "iocpipe: intel import: %s: %v; nothing of it was changed\n", annotate.Safe(lists[bad].opt.Source), lists[bad].err)
			lists = slices.Delete(lists, bad, bad+1)
			continue
		}
		if err != nil {
			return fmt.Errorf("intel import: %w", err)
		}
		for i, result := range results {
			lists[i].tell(result)
		}
		if failed {
			return exitError{exitFailed, ""}
		}
		return nil
	}
}

// start begins to read the source.
func (l *importing) start() *local.Import {
	l.taken, l.faults, l.told, l.kinds = 0, 0, nil, nil
	from := strings.Join(l.files, ", ")
	if path, err := filepath.Abs(l.files[0]); err == nil && len(l.files) == 1 && l.files[0] != "-" {
		from = path
	}
	in := &local.Import{Source: local.Source{Name: l.opt.Source, From: from, Updated: l.opt.Now.UTC().Truncate(time.Second)}}
	in.Read = func(take func(intel.Entry) error) error {
		l.err = l.read(in, take)
		return l.err
	}
	return in
}

func (l *importing) read(in *local.Import, take func(intel.Entry) error) error {
	defer func() {
		in.Source.Kind = strings.Join(l.kinds, ", ")
		l.source = in.Source
	}()
	for _, file := range l.files {
		if err := l.readFile(&in.Source, file, take); err != nil {
			return fmt.Errorf("%s: %w", annotate.Safe(file), err)
		}
	}
	if err := format.Judge(l.taken, l.faults); err != nil {
		if len(in.Source.Samples) > 0 {
			return fmt.Errorf("%w: %s", err, annotate.Safe(in.Source.Samples[0]))
		}
		return err
	}
	return nil
}

var errStrict = errors.New("refused, and --strict takes all or nothing")

func (l *importing) readFile(source *local.Source, file string, take func(intel.Entry) error) error {
	raw, err := l.open(file)
	if err != nil {
		return err
	}
	defer raw.Close()
	content, err := format.Decompress(raw)
	if err != nil {
		return err
	}
	defer content.Close()
	var strict error
	kind, err := format.Read(content, l.opt, func(e intel.Entry) error {
		if strict != nil {
			return strict
		}
		l.taken++
		return take(l.expiring(e))
	}, func(r format.Refused) {
		source.Refused++
		sample := l.place(file) + r.String()
		if len(source.Samples) < samplesKept {
			source.Samples = append(source.Samples, sample)
		}
		if r.Fault() {
			if l.faults++; l.faults <= toldRefused {
				l.told = append(l.told, sample)
			}
		}
		if l.strict && strict == nil {
			strict = fmt.Errorf("%s: %w", r, errStrict)
		}
	})
	if !slices.Contains(l.kinds, string(kind)) {
		l.kinds = append(l.kinds, string(kind))
	}
	return cmp.Or(strict, err)
}

// place says which of several files a record stands in.
func (l *importing) place(file string) string {
	if len(l.files) == 1 {
		return ""
	}
	return filepath.Base(file) + ": "
}

// expiring gives e the end that --expires says, unless it has one.
func (l *importing) expiring(e intel.Entry) intel.Entry {
	if l.expires > 0 && e.Expires.IsZero() {
		s := *e.Statement
		s.Expires = l.opt.Now.Add(l.expires).UTC().Truncate(time.Second)
		e.Statement = &s
	}
	return e
}

// open opens a file, with the eye of a person on a terminal on how far it is read.
func (l *importing) open(file string) (io.ReadCloser, error) {
	if file == "-" {
		return io.NopCloser(l.stdin()), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	return &watched{f, file, 0, l.bar}, nil
}

// watched is a file whose progress is shown.
type watched struct {
	*os.File
	name string
	done int64
	bar  *progress
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.File.Read(p)
	w.done += int64(n)
	w.bar.add(w.name, w.done, 0)
	return n, err
}

// tell says what became of the source.
func (l *importing) tell(r local.Result) {
	w := l.con.stdout
	isNew := r.Taken - r.Unchanged - r.Replaced
	fmt.Fprintf(w, "%s (%s): %s taken: %s new, %s replaced, %s unchanged", annotate.Safe(r.Source), l.source.Kind,
		thousands(r.Taken), thousands(isNew), thousands(r.Replaced), thousands(r.Unchanged))
	for _, part := range []struct {
		n    int
		what string
	}{{r.Dropped, "no longer listed"}, {r.Expired, "expired"}, {r.Duplicate, "listed twice"}, {r.Excess, "too many of one"}, {l.source.Refused, "refused"}} {
		if part.n > 0 {
			fmt.Fprintf(w, " · %s %s", thousands(part.n), part.what)
		}
	}
	fmt.Fprintln(w)
	for _, sample := range l.told {
		fmt.Fprintf(l.con.stderr, "iocpipe: %s: refused %s\n", annotate.Safe(r.Source), annotate.Safe(sample))
	}
	if more := l.faults - len(l.told); more > 0 {
		fmt.Fprintf(l.con.stderr, "iocpipe: %s: refused %s more; iocpipe intel ls --refused\n", annotate.Safe(r.Source), thousands(more))
	}
}

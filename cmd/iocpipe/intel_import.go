package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"iocpipe/filter/annotate"
	"iocpipe/intel"
	"iocpipe/intel/local"
	"iocpipe/intel/local/format"
)

// samplesKept is how many of the refused records of a source are kept for intel ls --refused.
const samplesKept = 20

// importFlags are the flags of intel import.
type importFlags struct {
	name, kind, vote string
	expires          days
	strict, allowRed bool
}

func newIntelImportCommand(con console) *cobra.Command {
	var f importFlags
	cmd := storeCommand("import SOURCE…", "Import files and folders of every format into the local store", func(cmd *cobra.Command, s *storeFlags, args []string) error {
		if len(args) == 0 {
			return usagef("intel import: name a file or folder, or - for standard input")
		}
		return f.run(con, s, args)
	})
	cmd.Long = `Import reads lists of intelligence into the host's local store: plain lists, CSV with named columns, abuse.ch URLhaus,
ThreatFox, Feodo and MalwareBazaar, Spamhaus DROP, hosts files, MISP events, feeds and warninglists, STIX 2.x, OTX
pulses, OpenIOC, Maltrail trails, ipsum, and report lines; gzip, zstd, bzip2 and zip, too. The format is told by the
content. What a source of the same name held before is replaced; a list with no good record, or with more than half of
them refused, changes nothing.`
	cmd.Example = `  iocpipe intel import feodo.csv urlhaus.csv.zip --strict
  iocpipe intel import --name partners --vote undecided partners/*.json`
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "name of the source (default: the file's or folder's, without extensions)")
	flags.StringVar(&f.kind, "format", "", "format, when the content does not tell: "+strings.Join(format.Names(), ", "))
	flags.StringVar(&f.vote, "vote", "", "what being listed means: malicious, undecided or benign (default: what the format says)")
	flags.Var(&f.expires, "expires", "how long entries hold that say nothing of it themselves, as 30d")
	flags.BoolVar(&f.strict, "strict", false, "change nothing when a record is refused")
	flags.BoolVar(&f.allowRed, "allow-red", false, "take what is marked TLP:RED")
	return cmd
}

func (f *importFlags) run(con console, s *storeFlags, args []string) error {
	opt := format.Options{Kind: format.Kind(f.kind), Now: time.Now(), AllowRed: f.allowRed, Expires: time.Duration(f.expires)}
	if f.vote != "" {
		votes, err := parseVote(f.vote)
		if err != nil {
			return err
		}
		opt.Votes = &votes
	}
	if f.kind != "" && !format.Known(opt.Kind) {
		return usagef("--format %q: use one of %s", f.kind, strings.Join(format.Names(), ", "))
	}
	path, err := s.need()
	if err != nil {
		return err
	}
	var imports []*importing
	for _, arg := range args {
		found, err := f.importsOf(con, opt, arg)
		if err != nil {
			return err
		}
		imports = append(imports, found...)
	}
	return replaceSources(con, path, imports, f.strict)
}

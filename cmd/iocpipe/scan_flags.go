package main

import (
	"fmt"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/pflag"

	"iocpipe/extract"
)

// scanFlags are the flags that say what is looked for, and what of it is worth asking about.
type scanFlags struct {
	types, defang        string
	fields, ignoreFields string
	allow                []string
	allowLoose           bool
	own                  string
}

// add declares the flags; defang is the default of --defang.
func (f *scanFlags) add(flags *pflag.FlagSet, defang string) {
	flags.StringVar(&f.types, "types", "all", "types of indicators to look for: ip, domain, email, hash, md5, sha1, sha256, sha512, antivirus")
	flags.StringVar(&f.defang, "defang", defang, "defanged forms to read: off, common or all")
	flags.StringVar(&f.fields, "fields", "", "fields of JSON events to look into, dotted, * within a part; empty is all")
	flags.StringVar(&f.ignoreFields, "ignore-fields", defaultIgnoredFields, "fields of JSON events not to look into; empty is none")
	flags.StringArrayVar(&f.allow, "allow", nil, "`FILE` of values that are never asked nor annotated, or a MISP warninglist; may be repeated")
	flags.BoolVar(&f.allowLoose, "allow-loose", false, "take the substring and regex types of warninglists, too")
	flags.StringVar(&f.own, "own", "", "`LIST` of your own domains and networks: never asked, never annotated by relation")
}

// defaultIgnoredFields are extract.DefaultIgnored and, beside a message, its original.
var defaultIgnoredFields = strings.Join(extract.DefaultIgnored, ".*,") + ".*,event.original"

// scanner returns a scanner as the flags say.
func (f *scanFlags) scanner() (extract.Scanner, error) {
	types, err := extract.ParseTypes(f.types)
	if err != nil {
		return extract.Scanner{}, usagef("--types: %v", err)
	}
	defang, ok := map[string]extract.Defang{"off": extract.DefangOff, "common": extract.DefangCommon, "all": extract.DefangAll}[f.defang]
	if !ok {
		return extract.Scanner{}, usagef("--defang %q: use off, common or all", f.defang)
	}
	return extract.Scanner{Types: types, Defang: defang, Fields: f.fieldSet()}, nil
}

func (f *scanFlags) fieldSet() extract.Fields {
	ignored, original := f.ignoreFields, f.ignoreFields == defaultIgnoredFields
	if original { // of the default alone: who names event.original means it wherever it stands
		ignored = strings.TrimSuffix(ignored, ",event.original")
	}
	return extract.NewFields(split(f.fields), split(ignored), original)
}

// split cuts a list at commas and blanks; line ends, too, so that "$(cat FILE)" is one.
func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
}

// isFileName reports whether a value of --own is the name of a file, and none that a host could have: taken for a domain it
// would protect nothing.
func isFileName(value string) bool {
	info, err := os.Stat(value)
	return err == nil && info.Mode().IsRegular() && len(new(extract.Scanner).Append(nil, []byte(value))) == 0
}

// policy returns what is worth asking about. err tells of an allow list that could not be read; the policy is good
// without it, but then nothing may be asked.
func (f *scanFlags) policy() (p extract.Policy, err error) {
	if f.own != "" {
		p.Own = new(extract.List)
		for _, value := range split(f.own) {
			if isFileName(value) {
				return p, usagef("--own: %q is a file here, not a name of yours; --own \"$(cat %s)\" takes what is in it", value, value)
			}
			if err := p.Own.Add(value); err != nil {
				return p, usagef("--own: %v", err)
			}
		}
	}
	if len(f.allow) > 0 {
		p.Allow = &extract.List{Loose: f.allowLoose}
	}
	for _, path := range f.allow {
		if e := p.Allow.LoadFile(path); e != nil && err == nil {
			err = fmt.Errorf("--allow: %w", e)
		}
	}
	return p, err
}

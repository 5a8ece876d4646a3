package format

import (
	"bufio"
	"fmt"
	"strings"

	"iocpipe/extract"
	"iocpipe/intel"
)

// A warninglist is one of MISP's lists of what is no indicator though it looks like one.
type warninglist struct {
	name, form string
	want       types  // of its values, by the attributes that it is matched with; 0 when it does not say
	foreign    string // the last attribute that holds nothing that is looked for
	values     spool
}

// readWarninglist reads lists of what is harmless. Those of substrings and regular expressions are not taken: they
// would call harmless what nobody has looked at. Source: https://github.com/MISP/misp-warninglists
func (l *list) readWarninglist(in *bufio.Reader) error {
	d := newJSON(in)
	l.where = d.where
	return d.documents(func() error {
		var w warninglist
		defer w.values.Close()
		err := d.object(func(key string) error { return w.member(l, d, key) })
		if err != nil {
			return err
		}
		return l.takeWarninglist(&w)
	})
}

func (w *warninglist) member(l *list, d *jsonReader, key string) error {
	switch key {
	case "list":
		return w.values.add(d)
	case "name", "type", "matching_attributes":
	default:
		return d.skip()
	}
	v, err := l.usableValue(d)
	if v == nil {
		return err
	}
	switch key {
	case "name":
		w.name = textOf(v)
	case "type":
		w.form = textOf(v)
	default:
		for _, attribute := range v.GetArray() {
			typ, ok := mispTypes[textOf(attribute)]
			if w.want |= typ.parts[0] | typ.parts[1]; !ok {
				w.foreign = textOf(attribute)
			}
		}
	}
	return nil
}

func (l *list) takeWarninglist(w *warninglist) error {
	whole := func(err error) error {
		l.where = func() string { return "the list" }
		l.refuse(w.name, err)
		return nil
	}
	switch {
	case w.form != "string" && w.form != "cidr" && w.form != "hostname" && w.form != "":
		return whole(unwanted{fmt.Errorf("%s lists are not supported", shorten(w.form))})
	case w.want == 0 && w.foreign != "":
		return whole(other(w.foreign))
	}
	listed := l.statement(benign, intel.Report{Tags: namesOf(w.name)})
	return w.values.each(l, func(d *jsonReader) error {
		v, err := l.usableValue(d)
		if v == nil {
			return err
		}
		value, dot := strings.CutPrefix(textOf(v), ".") // which can only mean the names below, whatever the form
		if err := l.addTyped(value, w.want, listed); err != nil || w.form != "hostname" && !dot {
			return err
		}
		if domain, ok := extract.ParseDomain(value); ok {
			return l.take(intel.Entry{
				Subject:   intel.Subject{Key: extract.Key{Type: extract.Domain, Value: domain}, Below: true},
				Statement: listed,
			})
		}
		return nil
	})
}

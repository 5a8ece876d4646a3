package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// A flag that the command line does not set is taken from the environment (IOCPIPE_MAX_LINE for --max-line), then from
// the YAML file of --config (max-line: 4096), then from its default.

const envPrefix = "IOCPIPE_"

// sourceConfig is one entry of the configuration's sources: the settings of one --intel.
type sourceConfig struct {
	Intel   string `yaml:"intel"` // as --intel takes it, which it need not be given then
	Name    string `yaml:"name"`
	Rate    string `yaml:"rate"`
	Burst   int    `yaml:"burst"`
	Types   string `yaml:"types"`
	Proxy   string `yaml:"proxy"`
	CA      string `yaml:"ca"`
	Timeout string `yaml:"timeout"`

	KeyFile   string `yaml:"key-file"`  // of otx:, instead of OTX_API_KEY
	Threshold int    `yaml:"threshold"` // of otx:, how many pulses it takes to call something malicious

	TTLMalicious days `yaml:"ttl-malicious"`
	TTLKnown     days `yaml:"ttl-known"`
	TTLUnknown   days `yaml:"ttl-unknown"`
}

// addConfig declares --config.
func addConfig(flags *pflag.FlagSet) {
	flags.String("config", "", "YAML `FILE` with flags by their names, and per-source settings under sources")
}

// settle fills in the flags of cmd that the command line did not set, and returns the configuration's sources.
func settle(cmd *cobra.Command) (sources []sourceConfig, err error) {
	flags := cmd.Flags()
	given := make(map[string]bool)
	flags.Visit(func(f *pflag.Flag) { given[f.Name] = true })
	flags.VisitAll(func(f *pflag.Flag) {
		if isCommand(f.Name) {
			return
		}
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value := os.Getenv(name)
		if value == "" || given[f.Name] || err != nil {
			return
		}
		given[f.Name] = true
		if e := setAll(f, strings.Split(value, ",")); e != nil {
			err = usagef("%s: %v", name, e)
		}
	})
	if err != nil {
		return nil, err
	}
	path, _ := flags.GetString("config")
	if path == "" {
		return nil, nil
	}
	return readConfig(cmd, path, given)
}

// isCommand reports whether a flag asks for something else to be done, which is not a setting.
func isCommand(name string) bool { return name == "help" || name == "version" }

// setAll sets f to the values: all of them when it may be repeated, else to the list they were cut from.
func setAll(f *pflag.Flag, values []string) error {
	if f.Value.Type() != "stringArray" {
		values = []string{strings.Join(values, ",")}
	}
	for _, value := range values {
		if err := f.Value.Set(value); err != nil {
			return fmt.Errorf("%q: %w", value, err)
		}
	}
	f.Changed = true
	return nil
}

// readConfig sets the flags that are not given yet from a YAML file. Flags of other commands are passed over, so that
// one file serves every command.
func readConfig(cmd *cobra.Command, path string, given map[string]bool) (sources []sourceConfig, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("--config: %v", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, usagef("--config %s: %v", path, err)
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return nil, usagef("--config %s:%d: not a list of settings, such as max-line: 4096", path, top.Line)
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		again := seen[key.Value]
		seen[key.Value] = true
		switch {
		case again:
			err = fmt.Errorf("%s is set twice", key.Value)
		case key.Value == "sources":
			sources, err = readSources(value)
		case cmd.Flags().Lookup(key.Value) == nil && isSetting(cmd.Root(), key.Value):
		default:
			err = setFromNode(cmd.Flags(), given, key.Value, value)
		}
		if err != nil {
			return nil, usagef("--config %s:%d: %v", path, key.Line, err)
		}
	}
	return sources, joinSources(cmd.Flags(), given, sources)
}

// isSetting reports whether cmd, or a command below it, has a flag of that name which is a setting.
func isSetting(cmd *cobra.Command, name string) bool {
	return !isCommand(name) && name != "config" && cmd.Flags().Lookup(name) != nil ||
		slices.ContainsFunc(cmd.Commands(), func(c *cobra.Command) bool { return isSetting(c, name) })
}

// joinSources adds the configured sources to --intel and lets what was given go before their settings.
func joinSources(flags *pflag.FlagSet, given map[string]bool, sources []sourceConfig) error {
	named, err := flags.GetStringArray("intel")
	for i := range sources {
		s := &sources[i]
		if err == nil && !given["intel"] && !slices.Contains(named, s.Intel) { // a command without --intel asks nobody
			err = setAll(flags.Lookup("intel"), []string{s.Intel})
		}
		if given["rate"] {
			s.Rate = ""
		}
		if given["burst"] {
			s.Burst = 0
		}
		if given["ask"] {
			s.Types = ""
		}
	}
	if flags.Lookup("intel") == nil {
		return nil
	}
	return err
}

// readSources decodes the settings of the sources; a name that is none is an error.
func readSources(node *yaml.Node) (sources []sourceConfig, err error) {
	if node.Kind != yaml.SequenceNode {
		return nil, errors.New("sources: not a list")
	}
	known := []string{"intel", "name", "rate", "burst", "types", "proxy", "ca", "timeout", "key-file", "threshold", "ttl-malicious", "ttl-known", "ttl-unknown"}
	for _, entry := range node.Content {
		for i := 0; i+1 < len(entry.Content); i += 2 {
			if name := entry.Content[i]; entry.Kind == yaml.MappingNode && !slices.Contains(known, name.Value) {
				return nil, fmt.Errorf("sources: line %d: unknown setting %q", name.Line, name.Value)
			}
		}
		var s sourceConfig
		if err := entry.Decode(&s); err != nil {
			return nil, fmt.Errorf("sources: %w", err)
		}
		if s.Burst < 0 {
			return nil, fmt.Errorf("sources: line %d: burst %d: must be at least 1", entry.Line, s.Burst)
		}
		if s.Intel == "" {
			return nil, fmt.Errorf("sources: line %d: intel, which says who is asked, is missing", entry.Line)
		}
		sources = append(sources, s)
	}
	return sources, nil
}

func setFromNode(flags *pflag.FlagSet, given map[string]bool, name string, node *yaml.Node) error {
	f := flags.Lookup(name)
	if f == nil || name == "config" || isCommand(name) {
		return fmt.Errorf("unknown setting %q", name)
	}
	if given[name] || node.Tag == "!!null" {
		return nil
	}
	items := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode {
		items = node.Content
	}
	var values []string
	for _, item := range items {
		if item.Kind != yaml.ScalarNode {
			return fmt.Errorf("%s: line %d: neither a value nor a list of values", name, item.Line)
		}
		values = append(values, item.Value)
	}
	if err := setAll(f, values); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

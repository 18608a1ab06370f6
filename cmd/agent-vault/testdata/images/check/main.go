// Command check reads manifests as Kubernetes does, strictly, and Compose files as
// Docker does: check kubernetes FILE..., or check compose FILE.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 3 {
		log.Fatal("usage: check kubernetes FILE..., or check compose FILE")
	}
	var err error
	switch os.Args[1] {
	case "kubernetes":
		for _, path := range os.Args[2:] {
			err = errors.Join(err, kubernetes(path))
		}
	case "compose":
		err = compose(os.Args[2])
	default:
		err = fmt.Errorf("what is %s?", os.Args[1])
	}
	if err != nil {
		log.Fatal(err)
	}
}

func kubernetes(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	for documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw))); ; {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var o runtime.Object
		if o, _, err = decoder.Decode(document, nil, nil); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		fmt.Println(o.GetObjectKind().GroupVersionKind())
	}
}

func compose(path string) error {
	options, err := cli.NewProjectOptions([]string{path}, cli.WithOsEnv)
	if err != nil {
		return err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return err
	}
	for _, s := range project.Services {
		fmt.Println(s.Name, s.Image)
	}
	return nil
}

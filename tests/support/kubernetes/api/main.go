// Command api is Kubernetes's API server and its controller manager in one program, as `api NAME ARGUMENTS`.
//
// Most of the two is the same code: apart they are twice as large, and take twice as long to build.
package main

import (
	"os"
	_ "time/tzdata"

	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	cm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	name := os.Args[1]
	os.Args = append([]string{name}, os.Args[2:]...)
	switch name {
	case "kube-apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "kube-controller-manager":
		os.Exit(cli.Run(cm.NewControllerManagerCommand()))
	}
}

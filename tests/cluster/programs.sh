# The cluster's programs: each built on demand from the Go module in programs/, and kept outside
# the clone in a folder whose name is a key of its sources, its flags and the Go version.
# shellcheck shell=bash
: "${CAPTIONFLEET_CACHE_DIR:=$HOME/.cache/captionfleet}"
cache=$CAPTIONFLEET_CACHE_DIR/cluster
all_programs=(kube coredns pause.tar helm prometheus-operator prometheus-config-reloader prometheus)

recipe() { # recipe PROGRAM: sets module, package, static, flags and took (cold, on 2 cores)
  module=$1 package=. static='' took="a second" flags=(-trimpath -ldflags "-s -w")
  local monitoring=github.com/prometheus-operator/prometheus-operator/cmd
  case $1 in
    kube) took="7 minutes"
      # Without its version kubelet, helm and kubectl refuse the API server as too old.
      flags=(-trimpath -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$(kubernetes_version)") ;;
    coredns) took="2 minutes" ;;
    pause) static=1 ;;
    pause.tar) module=pause ;;
    helm) package=helm.sh/helm/v3/cmd/helm took="1 minute" ;;
    # What goes into an image FROM scratch is static, and so is what shares its module: compiled once.
    prometheus-operator) package=$monitoring/operator static=1 took="3 minutes" ;;
    prometheus-config-reloader) module=prometheus-operator package=$monitoring/$1 static=1 took="half a minute" ;;
    prometheus) package=github.com/prometheus/prometheus/cmd/prometheus static=1 took="8 minutes"
      flags+=(-tags "remove_all_sd,enable_kubernetes_sd") ;;
    *) die "no program $1; there are: ${all_programs[*]}" ;;
  esac
}
kubernetes_version() { sed -n 's|^\tk8s.io/kubernetes ||p' "$here/programs/kube/go.mod"; }

key() { # key PROGRAM: changes with whatever the program is made of
  recipe "$1"
  local go; go=$(cd "$here/programs/$module" && go env GOVERSION GOARCH) ||
    die "Go 1.21 or newer is needed: it fetches the version that programs/*/go.mod names"
  { echo "$go $package static=$static ${flags[*]}"; cat "$here/programs/$module"/*; [[ $1 != *.tar ]] || cat "$here/image"; } |
    sha256sum | cut -c1-16
}

program() { # program NAME: print where its binary lies, built if it is not there yet
  local name=$1 folder lock
  folder=$cache/$name-$(key "$name")
  if [[ ! -e $folder/$name ]]; then
    mkdir -p "$folder"
    exec {lock}>"$folder/lock"; flock "$lock"      # somebody else may be building it
    [[ -e $folder/$name ]] || build "$name" "$folder"
    exec {lock}>&-
  fi
  echo "$folder/$name"
}

build() { # build NAME FOLDER
  local name=$1 folder=$2 t0=$SECONDS
  recipe "$name"
  echo "cluster: building $name into $folder, about $took the first time" >&2
  if [[ $name = pause.tar ]]; then
    "$here/image" "$folder/part" cluster.test/pause:1 "$here/programs/pause/Containerfile" \
      "$(dirname "$(program pause)")"
  else
    (cd "$here/programs/$module"; [[ ! $static ]] || export CGO_ENABLED=0
      go build "${flags[@]}" -o "$folder/part" "$package") >&2
  fi
  mv "$folder/part" "$folder/$name"                # whole or not at all
  echo "cluster: built $name in $((SECONDS - t0)) s" >&2
}

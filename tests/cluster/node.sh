# The node: containerd, kubelet, kube-proxy, CoreDNS and every pod, in pid, mount, network and uts
# namespaces of their own. Killing the first process of these ends all of it. Needs root.
# shellcheck shell=bash
cgroups=(/sys/fs/cgroup)                           # version 2: one tree; version 1: one per controller
if [[ ! -e /sys/fs/cgroup/cgroup.controllers ]]; then
  cgroups=(); for f in /sys/fs/cgroup/*/cgroup.procs; do cgroups+=("${f%/cgroup.procs}"); done
fi

start_link() { # the pair of network devices between the machine and the node
  ip link add "$veth" type veth peer name "$veth-p"
  ip addr add "$host_ip/30" dev "$veth"; ip link set "$veth" up
  ip route add "$pod_cidr" via "$node_ip" dev "$veth" onlink
  ip route add "$service_cidr" via "$node_ip" dev "$veth" onlink
}

start_node() {
  local coredns pause f
  coredns=$(program coredns) pause=$(program pause.tar)
  for f in Corefile cluster.yaml containerd.toml kube-proxy.yaml kubelet.yaml resolv.conf; do
    render "$f" >"$conf/$f"
  done
  mkdir -p "$conf/cni"; render cni.conflist >"$conf/cni/cni.conflist"
  for f in "${cgroups[@]}"; do mkdir -p "$f/$node_name"; done
  mkdir -p "$CLUSTER_STATE"/node/{kubelet,containerd,cni,pods,containers}
  [[ -z ${CLUSTER_IMAGES-} ]] || "$here/images/seed" "$CLUSTER_IMAGES" "$CLUSTER_STATE/node/containerd"
  for f in {1..40}; do
    mkdir -p "$CLUSTER_STATE/node/volumes/$f"
    render volume.yaml | sed "s|@I@|$f|g"
  done >"$conf/volumes.yaml"
  start node env CLUSTER_STATE="$CLUSTER_STATE" KUBE="$kube" COREDNS="$coredns" NODE="$node_name" \
    NODE_IP="$node_ip" HOST_IP="$host_ip" VETH="$veth" \
    unshare --mount --pid --fork --kill-child --mount-proc --net --uts bash "$here/node-init"
  wait_for 10 "node process" node_pid
  ip link set "$veth-p" netns "$(node_pid)"        # node-init waits for it
  wait_for 30 "containerd" ctr version
  load_image "$pause"                              # before the first pod: every pod starts from it
  kubectl create -f "$conf/cluster.yaml" -f "$conf/volumes.yaml" >/dev/null
  wait_for 60 "ready node" kubectl wait --for condition=Ready "node/$node_name" --timeout 5s
  wait_for 30 "cluster DNS" in_node curl -fs "http://$node_ip:8181/ready"
}

end_node() {
  stop node
  ! ip link show "$veth" >/dev/null 2>&1 || ip link del "$veth"
  local c; for c in "${cgroups[@]}"; do
    for _ in {1..50}; do
      [[ -d $c/$node_name ]] || break
      find "$c/$node_name" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
    done
  done
}

render() {
  sed -e "s|@NODE@|$node_name|g; s|@NODE_IP@|$node_ip|g; s|@HOST_IP@|$host_ip|g; s|@DNS_IP@|$dns_ip|g" \
    -e "s|@POD_CIDR@|$pod_cidr|g; s|@STATE@|$CLUSTER_STATE|g; s|@PKI@|$pki|g; s|@CONF@|$conf|g" "$here/config/$1"
}
node_pid() { pgrep -P "$(<"$CLUSTER_STATE/node.pid")"; }
# Not `ip netns exec`, which hides /sys/fs/cgroup.
in_node() { nsenter --target "$(node_pid)" --pid --mount --net --uts -- "$@"; }
ctr() { in_node ctr --namespace k8s.io "$@"; }
load_image() { ctr images import --base-name cluster.test/imported - <"$1"; }

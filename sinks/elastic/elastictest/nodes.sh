#!/usr/bin/env bash
# Runs real nodes of Elasticsearch and OpenSearch for tests, from Maven Central's jars.
#
#   nodes.sh start DIR [KIND…]   starts them, waits until they answer, and prints IOCPIPE_…=http://127.0.0.1:PORT lines
#   nodes.sh stop  DIR [KIND…]   ends them; what they hold stays in DIR, and a later start goes on with it, on the same port
#   nodes.sh kill  DIR [KIND…]   as stop, with SIGKILL
#   nodes.sh fetch [KIND…]       gets the jars alone
#
# KINDs: opensearch (3.8), opensearch2 (2.19), es7, es8, es9, and secure (OpenSearch 3.4 with its security plugin: https, users, roles;
# user and password are admin; certificates in IOCPIPE_SECURE_CERTS); without any: all.
# Settings from the environment: NODE_OPTS (for java; default a small heap), NODES_CACHE (folder of class paths).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/testdata/nodes
cache=${NODES_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/iocpipe-nodes}
read -ra options <<<"${NODE_OPTS:--Xms256m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1}"

say() { printf 'nodes.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

variable() { # KIND: the variable that tests read
  case $1 in opensearch | opensearch2 | es7 | es8 | es9 | secure) echo "IOCPIPE_${1^^}" ;; *) die "$1: no such kind" ;; esac
}

# jdk MIN MAX prints the home of a JDK of such a version.
jdk() {
  local home version
  for home in ${JAVA_HOME:+"$JAVA_HOME"} /usr/lib/jvm/* /opt/*jdk*; do
    [[ -x $home/bin/javac ]] || continue
    version=$("$home/bin/javac" -version 2>&1 | sed 's/^javac \([0-9]*\).*/\1/')
    if ((version >= $1 && version <= $2)); then echo "$home"; return; fi
  done
  return 1
}

# needs installs what is missing: Maven, and a JDK for the kind.
needs() {
  local kind=$1 packages=()
  command -v curl >/dev/null || packages+=(curl)
  command -v mvn >/dev/null || packages+=(maven)
  [[ $kind != secure ]] || command -v openssl >/dev/null || packages+=(openssl)
  home=$(jdk ${wants[$kind]}) || packages+=("$(newest "${wants[$kind]}")")
  if ((${#packages[@]})); then
    say "installing ${packages[*]}"
    apt-get install -y -qq "${packages[@]}" >/dev/null 2>&1 || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${packages[@]}" >/dev/null; } ||
      die "$kind needs ${packages[*]}: install them"
  fi
  home=$(jdk ${wants[$kind]}) || die "$kind needs a JDK of version ${wants[$kind]/ / to }: install one into /usr/lib/jvm, or set JAVA_HOME"
}
declare -A wants=([opensearch]="21 99" [opensearch2]="17 23" [es7]="17 20" [es8]="17 23" [es9]="21 99" [secure]="21 99")

newest() { # "MIN MAX": the package of a JDK that the distribution has
  local v
  for v in 17 21 25; do
    ((v >= ${1% *} && v <= ${1#* })) && apt-cache show "openjdk-$v-jdk-headless" >/dev/null 2>&1 && { echo "openjdk-$v-jdk-headless"; return; }
  done
  echo "openjdk-${1% *}-jdk-headless"
}

# jars KIND prints its class path; Maven is asked when it is not known yet or a jar has gone.
jars() {
  local list=$cache/$1-$(cksum <"$here/$1.xml" | cut -d' ' -f1).cp
  if [[ ! -s $list ]] || ! tr : '\n' <"$list" | xargs -r ls >/dev/null 2>&1; then
    mkdir -p "$cache"
    mvn -q -B -Dstyle.color=never -f "$here/$1.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath \
      -Dmdep.outputFile="$list.new" >&2 || die "$1: Maven does not get the jars"
    mv "$list.new" "$list"
  fi
  cat "$list"
}

taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# port KIND HOME prints the one it had, or a free one. OpenSearch's runner wants it below 9300.
port() {
  local p from=20000 width=10000
  [[ $1 == opensearch* || $1 == secure ]] && from=9201 width=98
  if [[ -s $2/port ]]; then cat "$2/port"; return; fi
  for _ in {1..50}; do
    p=$((from + RANDOM % width))
    taken "$p" || { echo "$p" | tee "$2/port"; return; }
  done
  die "$1: no free port"
}

# module HOME CP VERSION JAVA lays out the one plugin that an Elasticsearch of 8 and later needs, and prints the module path.
module() {
  local to=$1/modules/transport-netty4 jar rest=()
  mkdir -p "$to" "$1/plugins" "$1/config"
  for jar in ${2//:/ }; do
    case ${jar##*/} in netty-* | transport-netty4-*) cp -n "$jar" "$to/" ;; *) rest+=("$jar") ;; esac
  done
  printf '%s\n' name=transport-netty4 "version=$3" "elasticsearch.version=$3" "java.version=$4" description=netty \
    classname=org.elasticsearch.transport.netty4.Netty4Plugin modulename=org.elasticsearch.transport.netty4 \
    >"$to/plugin-descriptor.properties"
  (IFS=:; echo "${rest[*]}")
}

# certificates DIR makes an authority, and certificates by it of the node, an administrator and a shipper.
certificates() {
  local name key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
  mkdir -p "$1"
  openssl req -x509 "${key[@]}" -days 30 -keyout "$1/ca.key" -out "$1/ca.pem" -subj "/CN=iocpipe test"
  for name in node admin shipper; do
    openssl req "${key[@]}" -keyout "$1/$name.key" -out "$1/$name.csr" -subj "/O=iocpipe/CN=$name"
    openssl x509 -req -in "$1/$name.csr" -CA "$1/ca.pem" -CAkey "$1/ca.key" -CAcreateserial -days 30 -out "$1/$name.pem" \
      -extfile <(printf '%s\n' subjectAltName=DNS:localhost,IP:127.0.0.1 extendedKeyUsage=serverAuth,clientAuth)
  done
}

# secure HOME CP JDK unpacks the security plugin, configures it, and prints the class path with it.
secure() {
  local dir=$1 zip rest
  zip=$(tr : '\n' <<<"$2" | grep '\.zip$')
  rest=$(tr : '\n' <<<"$2" | grep -v '\.zip$' | paste -sd:)
  if [[ ! -d $dir/conf/certs ]]; then
    mkdir -p "$dir/plugin" "$dir/conf/opensearch-security"
    (cd "$dir/plugin" && "$3/bin/jar" xf "$zip")
    cp "$dir"/plugin/config/*.yml "$dir/conf/opensearch-security/"
    sed -i '/clientcert_auth_domain:/,/http_enabled/s/http_enabled: false/http_enabled: true/' "$dir/conf/opensearch-security/config.yml"
    certificates "$dir/conf/certs" >&2
    cat "$here/secure.yml" >"$dir/conf/opensearch.yml"
  fi
  echo "$rest:$dir/plugin/*"
}

# launch KIND HOME starts it in the background.
launch() {
  local kind=$1 dir=$2 cp p home command version
  needs "$kind"
  cp=$(jars "$kind")
  p=$(port "$kind" "$dir")
  command=("$home/bin/java" "${options[@]}")
  version=$(grep -oE 'elasticsearch-[0-9.]+[0-9]\.jar' <<<"$cp" | head -n 1 | sed 's/[^0-9.]//g; s/\.$//') || true
  case $kind in
    opensearch*)
      mkdir -p "$dir/conf"
      printf '%s\n' 'discovery.type: single-node' 'transport.port: 0' 'network.host: 127.0.0.1' 'cluster.info.update.interval: 10s' >"$dir/conf/opensearch.yml"
      command+=(-cp "$cp" org.codelibs.opensearch.runner.OpenSearchRunner -basePath "$dir" -confPath "$dir/conf" -numOfNode 1
        -baseHttpPort $((p - 1)) -clusterName iocpipe) ;;
    secure)
      command+=(-cp "$(secure "$dir" "$cp" "$home" 2>>"$dir/out")" org.codelibs.opensearch.runner.OpenSearchRunner -basePath "$dir" -confPath "$dir/conf"
        -numOfNode 1 -baseHttpPort $((p - 1)) -clusterName iocpipe -pluginTypes org.opensearch.security.OpenSearchSecurityPlugin) ;;
    es7) mkdir -p "$dir/config" && command+=(-cp "$cp" "$here/Node7.java" "$dir" "$p") ;;
    es8) command+=(--module-path "$(module "$dir" "$cp" "$version" 17)" --add-modules ALL-MODULE-PATH "$here/Node8.java" "$dir" "$p") ;;
    es9) command+=(--module-path "$(module "$dir" "$cp" "$version" 21)" --add-modules ALL-MODULE-PATH "$here/Node9.java" "$dir" "$p") ;;
  esac
  (cd "$dir" && exec nohup setsid "${command[@]}") >>"$dir/out" 2>&1 </dev/null &
  echo $! >"$dir/pid"
}

alive() { [[ -s $1/pid ]] && kill -0 "$(<"$1/pid")" 2>/dev/null; }

url() { # KIND HOME
  local scheme=http
  [[ $1 == secure ]] && scheme=https
  echo "$scheme://127.0.0.1:$(<"$2/port")"
}

# await KIND HOME waits until it answers.
await() {
  local url as=()
  url=$(url "$1" "$2")
  [[ $1 == secure ]] && as=(--cacert "$2/conf/certs/ca.pem" -u admin:admin)
  for _ in {1..600}; do
    curl -fs -m 5 "${as[@]}" -o "$2/health" "$url/_cluster/health?wait_for_status=yellow&timeout=2s" && return
    alive "$2" || break
    sleep 0.2
  done
  tail -n 30 "$2/out" >&2
  die "$1: it does not answer at $url (all it says: $2/out)"
}

start() {
  local kind dir
  for kind in "${kinds[@]}"; do
    variable "$kind" >/dev/null
    dir=$root/$kind
    mkdir -p "$dir"
    alive "$dir" || launch "$kind" "$dir"
  done
  for kind in "${kinds[@]}"; do
    await "$kind" "$root/$kind"
    echo "$(variable "$kind")=$(url "$kind" "$root/$kind")"
    [[ $kind != secure ]] || echo "IOCPIPE_SECURE_CERTS=$root/$kind/conf/certs"
  done
}

end() { # SIGNAL
  local kind dir
  for kind in "${kinds[@]}"; do
    dir=$root/$kind
    alive "$dir" && kill -s "$1" "$(<"$dir/pid")"
  done
  for kind in "${kinds[@]}"; do
    dir=$root/$kind
    for _ in {1..150}; do alive "$dir" || break; sleep 0.1; done
    alive "$dir" && kill -s KILL "$(<"$dir/pid")"
    rm -f "$dir/pid"
  done
}

usage() { sed -n '4,9p' "${BASH_SOURCE[0]}" >&2; exit 2; }

(($# >= 1)) || usage
action=$1 && shift
if [[ $action != fetch ]]; then
  (($# >= 1)) || usage
  mkdir -p "$1" && root=$(cd "$1" && pwd) && shift
fi
kinds=("$@")
((${#kinds[@]})) || kinds=(opensearch opensearch2 es7 es8 es9 secure)
case $action in
  start) start ;;
  stop) end TERM ;;
  kill) end KILL ;;
  fetch) for kind in "${kinds[@]}"; do needs "$kind" && jars "$kind" >/dev/null; done ;;
  *) usage ;;
esac

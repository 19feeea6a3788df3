#!/usr/bin/env bash
# release.sh builds what a release consists of, for each platform: an archive with the
# collector, the terminal view, alerts, dashboard and configurations, and a list of all
# modules in each program (SBOM, CycloneDX 1.6); and checksums of all that. The same
# commit and the same Go give the same bytes, on any machine.
#
#   VERSION    v0.1.0           what git calls the commit
#   PLATFORMS  linux/amd64 ...  the platforms to build for
#   OUT        dist             where it goes; what is there is removed
set -euo pipefail
cd "$(dirname "$0")/.."

version=${VERSION:-$(git describe --tags --always --dirty)}
platforms=${PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64}
out=${OUT:-dist}
epoch=$(git log -1 --format=%ct)
export CGO_ENABLED=0 GOWORK=off

fail() { echo "release: $*" >&2; exit 1; }
[[ $platforms != *windows* ]] || command -v zip >/dev/null || fail "archives for Windows need zip: install it, or set PLATFORMS"

rm -rf "$out" && mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The program as ocb writes it, with the version.
source=distribution/build-release
sed -e "s|^  version: .*|  version: ${version#v}|" -e "s|^  output_path: .*|  output_path: $source|" builder-config.yaml >"$work/builder-config.yaml"
mkdir -p "$source"
go tool -modfile=internal/tools/go.mod builder --config "$work/builder-config.yaml" --skip-compilation >"$work/builder.log" 2>&1 ||
  { cat "$work/builder.log" >&2; fail "ocb failed"; }

# sbom PROGRAM FILE lists the modules that a program is made of. Our own come from this
# repository, and Go calls them after the folder.
sbom() {
  GOFLAGS=-trimpath go -C internal/tools/cyclonedx tool cyclonedx-gomod bin \
    -json -std -noserial -notimestamp -version "$version" -output "$2" "$1" 2>"$work/sbom.log" ||
    { cat "$work/sbom.log" >&2; fail "no list of the modules of $1"; }
  sed -i -E -e "s|\(devel\)|$version|" -e 's|("name": "\|pkg:golang/)(\.\./)+sdk\b|\1github.com/asyncinspect/asyncinspect/sdk|' \
    -e 's|("name": "\|pkg:golang/)\.\./\.\.([@"])|\1github.com/asyncinspect/asyncinspect\2|' "$2"
  ! grep -F '../' "$2" || fail "$2 names a folder and not a module"
}

for platform in $platforms; do
  export GOOS=${platform%/*} GOARCH=${platform#*/}
  name=async-inspect_${version#v}_${GOOS}_$GOARCH
  suffix=
  [[ $GOOS != windows ]] || suffix=.exe
  echo "release: $name"
  mkdir -p "$work/$name"
  go -C "$source" build -trimpath -buildvcs=false -ldflags="-s -w" -o "$work/$name/otelcol-asyncinspect$suffix" .
  go -C cmd/asyncinspect build -trimpath -buildvcs=false -ldflags="-s -w -X main.released=$version" -o "$work/$name/asyncinspect$suffix" .
  cp LICENSE README.md CHANGELOG.md "$work/$name"
  cp -r distribution/config distribution/prometheus distribution/grafana "$work/$name"
  rm -f "$work/$name"/config/*.go "$work/$name"/prometheus/*_test.yaml
  for program in otelcol-asyncinspect asyncinspect; do
    (unset GOOS GOARCH; sbom "$work/$name/$program$suffix" "$out/${name}_$program.cdx.json")
  done
  find "$work/$name" -exec touch -d "@$epoch" {} +
  chmod -R u=rwX,go=rX "$work/$name"
  if [[ $GOOS == windows ]]; then
    (cd "$work" && find "$name" | LC_ALL=C sort | TZ=UTC zip -q -X -@ "$out/$name.zip")
  else
    tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" -cf - "$name" | gzip -n9 >"$out/$name.tar.gz"
  fi
done

(cd "$out" && find . -type f ! -name SHA256SUMS -printf '%P\n' | LC_ALL=C sort | xargs sha256sum >SHA256SUMS)
echo "release: $(wc -l <"$out/SHA256SUMS") files in $out"

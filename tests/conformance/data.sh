#!/usr/bin/env bash
# Makes a suite's data as OTP's build does: copies FOLDER/SUITE_data into WORK, with links to those of the suites beside it, and
# has make follow its Makefile.src, whose variables (@dll@, @SHLIB_RULES@ …) are given here.
# tests/conformance/data.sh FOLDER SUITE WORK OTP_ROOT ERLC…
set -euo pipefail
folder=$1 suite=$2 work=$3 otp=$4
shift 4
rm -rf "$work"
mkdir -p "$work"
[ -d "$folder/${suite}_data" ] || exit 0
ln -s "$folder"/*_data "$work/"
rm "$work/${suite}_data"
cp -r "$folder/${suite}_data" "$work/"
cd "$work/${suite}_data"
[ -e Makefile.src ] || exit 0
include=$otp/usr/include
interface=$(ls -d "$otp"/lib/erl_interface-* 2>/dev/null | tail -n 1 || true)
cat >rules <<RULES
.SUFFIXES: .c .o .so .beam .erl
SHLIB_EXTRA_CFLAGS =
SHLIB_EXTRA_LDLIBS =
.c.o:
	\$(CC) -c -w -O1 -fPIC -DHAVE_POLL_H -DHAVE_POLL -DHAVE_STRERROR \$(SHLIB_EXTRA_CFLAGS) -I$include -o \$@ \$<
%.so: %.o \$(SHLIB_EXTRA_LDLIBS)
	\$(CC) -shared -pthread -o \$@ \$< \$(SHLIB_EXTRA_LDLIBS)
.erl.beam:
	$* \$<
RULES
# What stands before the rules may set SHLIB_EXTRA_LDLIBS for them.
sed -e '/@SHLIB_RULES@/{r rules
d}' -e 's/@IFEQ@/ifeq/; s/@ELSE@/else/; s/@ENDIF@/endif/; s/@EMULATOR@/beam/; s/@erl_name@/erl/; s/@dll@/.so/g; s/@obj@/.o/g; s/@exe@//g; s/@emu_threads@//g; s/@ssl_libs@//g; s/@LIBS@/-lpthread/g; s,@CC@,cc,g; s,@LD@,cc,g; s/@WSL@//g; s,@CROSSLDFLAGS@,,g' \
    -e "s,@SHLIB_CFLAGS@\\|@CFLAGS@,-w -O1 -fPIC -I$include,g; s,@DEFS@,-DHAVE_POLL_H -DHAVE_POLL -DHAVE_STRERROR,g; s,@erl_include@,$include,g; s,@ei_include@,$interface/include,g" \
    -e "s/@[A-Za-z_]*@//g" Makefile.src >Makefile
grep -q '^SHLIB_EXTRA_LDLIBS' Makefile && sed -i '/^SHLIB_EXTRA_LDLIBS =$/d' Makefile
make -k >make.log 2>&1 || true

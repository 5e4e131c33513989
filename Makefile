# qemu-fd: back up running QEMU guests with Bacula.
# SPDX-License-Identifier: AGPL-3.0-or-later
#
#   make            build/qemu-fd.so
#   make check      unit tests under ASan and UBSan, then the integration tests
#   make check-all  everything: check with its long tests, and what follows here up to check-packages
#   make check-asan the integration tests with every File Daemon under ASan, LSan and UBSan
#   make check-faults  every fault at every moment; writes docs/internals/faults.md
#   make check-long a random walk over writes, levels, faults: STEPS=200 SEED=…
#   make check-matrix  the main cases on several QEMUs, half an hour
#   make demo       a backup and a restore of a real guest, shown step by step
#   make bench      measures what docs/internals/figures.md says, a quarter of an hour
#   make fuzz       libFuzzer on every parser, FUZZ_SECONDS each
#   make open       build/qemu-fd-open, which reads volumes without Bacula; make install-open with its man page
#   make lint       formatter, clang, gcc -fanalyzer, clang-tidy, cppcheck, shellcheck, pylint
#   make man        build/qemu-fd.5; make pages and make sessions renew what docs/ includes
#   make install    plugin, man page, documents; make uninstall takes them away
#   make dist       the tarball of a release
#   make debs       the .deb for Debian 12 and that for 13, in build/debs; DEBIAN=13 for one of them
#   make check-packages   .debs and .rpm: built, looked at, the first two installed and used
#
# bootstrap installs what these need on Debian 12.

VERSION   := $(shell cat VERSION)
PREFIX    ?= /usr
PLUGINDIR ?= $(PREFIX)/lib/bacula
MANDIR    ?= $(PREFIX)/share/man
DOCDIR    ?= $(PREFIX)/share/doc/qemu-fd
BUILD     ?= build

# make V=1 shows the whole commands.
Q         := $(if $(V),,@)

PACKAGES  := jansson libcurl libnbd libpcre2-8 libssl libcrypto
PYTHON    ?= /usr/bin/python3

# Warnings stop those who change the code, not those who build a release with a
# compiler that is newer than it.
WERROR    ?= $(if $(wildcard .git),-Werror)
WARNINGS  := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
             -Wmissing-prototypes -Wvla -Wcast-qual -Wformat=2 -Wnull-dereference \
             -Wpointer-arith -Wwrite-strings -Wundef -Wredundant-decls -Wdouble-promotion \
             -Wold-style-definition -Wunused-macros -Wnested-externs -Wimplicit-fallthrough \
             -Wdate-time $(WERROR)
DEFINES   := -D_GNU_SOURCE -DQEMU_FD_VERSION='"$(VERSION)"' -Iinclude -Isrc
HARDENING := -fstack-protector-strong -fstack-clash-protection \
             -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fcf-protection
CFLAGS    ?= -O2 -g
LDFLAGS   ?= -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed -Wl,-z,defs
# No path of the machine gets into what is built: two builds are the same.
override CFLAGS += -std=c17 -fPIC -fvisibility=hidden -ffile-prefix-map=$(CURDIR)=. $(WARNINGS) $(DEFINES) \
                   $(CPPFLAGS) $(shell pkg-config --cflags $(PACKAGES))
LIBRARIES := $(shell pkg-config --libs $(PACKAGES)) -pthread

INTERFACES := 14 21 22 23
SOURCES    := $(filter-out src/bacula/adapter.c src/helper/% src/volume/% src/open/%,$(wildcard src/*.c src/*/*.c))
# The program beside it: the rooms below those of a hypervisor and of Bacula.
HELPER_SOURCES := $(wildcard src/helper/*.c src/agent/*.c src/qemu/*.c src/pve/*.c src/image/*.c src/guest/*.c src/base/*.c)
HELPER_OBJECTS := $(HELPER_SOURCES:src/%.c=$(BUILD)/obj/%.o)
# The program that reads volumes, and what it alone is linked with.
VOLUME_PACKAGES  := libxxhash lzo2 libzstd zlib
VOLUME_LIBRARIES := $(shell pkg-config --libs $(VOLUME_PACKAGES))
VOLUME_SOURCES   := $(wildcard src/volume/*.c)
VOLUME_OBJECTS   := $(VOLUME_SOURCES:src/%.c=$(BUILD)/obj/%.o)
OPEN_SOURCES     := $(wildcard src/open/*.c src/image/trailer.c src/guest/*.c src/base/*.c)
OPEN_OBJECTS     := $(OPEN_SOURCES:src/%.c=$(BUILD)/obj/%.o) $(VOLUME_OBJECTS)
OBJECTS    := $(SOURCES:src/%.c=$(BUILD)/obj/%.o) \
              $(INTERFACES:%=$(BUILD)/obj/bacula/adapter_%.o)
HEADERS    := $(wildcard include/*/*.h src/*/*.h)

MAKEFLAGS += -r

.DELETE_ON_ERROR:
.PHONY: all bench fuzz check check-all check-asan check-faults check-unit check-integration check-matrix check-packages debs demo lint format \
        man install uninstall dist clean bacula

all: $(BUILD)/qemu-fd.so $(BUILD)/qemu-fd-helper

# Not for the plugin's host, and not built with it: it needs libraries of its own.
.PHONY: open install-open uninstall-open
open: $(BUILD)/qemu-fd-open

$(BUILD)/qemu-fd-open: $(OPEN_OBJECTS)
	$(if $(V),,@echo "  LINK    $@")
	$(Q)$(CC) -pie $(CFLAGS) $(HARDENING) $(LDFLAGS) -o $@ $^ $(LIBRARIES) $(VOLUME_LIBRARIES)

$(BUILD)/qemu-fd-helper: $(HELPER_OBJECTS)
	$(if $(V),,@echo "  LINK    $@")
	$(Q)$(CC) -pie $(CFLAGS) $(HARDENING) $(LDFLAGS) -o $@ $^ $(LIBRARIES)

$(BUILD)/qemu-fd.so: $(OBJECTS)
	$(if $(V),,@echo "  LINK    $@")
	$(Q)$(CC) -shared $(CFLAGS) $(HARDENING) $(LDFLAGS) -o $@ $^ $(LIBRARIES)

$(BUILD)/obj/bacula/adapter_%.o: src/bacula/adapter.c Makefile VERSION
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC      $@")
	$(Q)$(CC) $(CFLAGS) $(HARDENING) -DFD_INTERFACE=$* -MMD -MP -c -o $@ $<

$(BUILD)/obj/%.o: src/%.c Makefile VERSION
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC      $@")
	$(Q)$(CC) $(CFLAGS) $(HARDENING) -MMD -MP -c -o $@ $<

-include $(OBJECTS:.o=.d) $(HELPER_OBJECTS:.o=.d) $(OPEN_OBJECTS:.o=.d)

# --- tests ---------------------------------------------------------------

# The whole plugin once more with the sanitizers, for unit tests and the host
# program that plays the File Daemon.
SANITIZE   := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
ASAN       := $(BUILD)/asan
ASAN_OBJECTS := $(OBJECTS:$(BUILD)/obj/%=$(ASAN)/obj/%)
# What tests are linked with: also the rooms of qemu-fd-open.
TESTED_OBJECTS := $(ASAN_OBJECTS) $(VOLUME_OBJECTS:$(BUILD)/obj/%=$(ASAN)/obj/%)
UNIT_TESTS := $(patsubst tests/unit/%.c,$(ASAN)/unit/%,$(wildcard tests/unit/test_*.c))
BACULA_DIR ?= $(BUILD)/bacula

$(ASAN)/obj/bacula/adapter_%.o: src/bacula/adapter.c Makefile VERSION
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC      $@")
	$(Q)$(CC) $(CFLAGS) -O1 $(SANITIZE) -DFD_INTERFACE=$* -MMD -MP -c -o $@ $<

$(ASAN)/obj/%.o: src/%.c Makefile VERSION
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC      $@")
	$(Q)$(CC) $(CFLAGS) -O1 $(SANITIZE) -MMD -MP -c -o $@ $<

$(ASAN)/qemu-fd.so: $(ASAN_OBJECTS)
	$(if $(V),,@echo "  LINK    $@")
	$(Q)$(CC) -shared $(CFLAGS) $(SANITIZE) -o $@ $^ $(LIBRARIES)

$(ASAN)/unit/%: tests/unit/%.c $(TESTED_OBJECTS)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK    $@")
	$(Q)$(CC) $(CFLAGS) -O1 $(SANITIZE) -MMD -MP -o $@ $< $(TESTED_OBJECTS) $(LIBRARIES) $(VOLUME_LIBRARIES) -lcmocka

-include $(TESTED_OBJECTS:.o=.d) $(UNIT_TESTS:=.d)

# Fuzz targets: run over their corpus with the unit tests, and searched with
# libFuzzer by "make fuzz" (FUZZ_SECONDS each); docs/internals/fuzzing.md.
FUZZ_NAMES   := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_REPLAYS := $(FUZZ_NAMES:%=$(ASAN)/fuzz/replay_%)
FUZZ_SECONDS ?= 600
FUZZ_FLAGS   := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
FUZZ_HEADERS := $(wildcard tests/fuzz/*.h)

# Where the bytes come from beyond a parser (a socket, a server, qemu-img), the
# target stands in for these functions.
WRAPPED_monitor := connect poll recv sendmsg stat clock_now clock_slice clock_sleep image_check_dump \
                   guard_start image_create lock_is_held qcow2_read_file room_of_disk room_take \
                   workplace_is_held workplace_space
WRAPPED_proxmox := clock_slice clock_sleep image_convert image_size qemu_describe pve_client_cancel \
                   pve_client_free pve_client_has_token pve_client_ignore_cancel pve_client_new \
                   pve_request pve_volume_find
WRAPPED_qcow2   := child_run

$(ASAN)/fuzz/replay_%: tests/fuzz/fuzz_%.c tests/fuzz/replay.c $(FUZZ_HEADERS) $(TESTED_OBJECTS)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK    $@")
	$(Q)$(CC) $(CFLAGS) -O1 $(SANITIZE) -o $@ $(filter %.c %.o,$^) $(WRAPPED_$*:%=-Wl,--wrap=%) \
	    $(LIBRARIES) $(VOLUME_LIBRARIES)

FUZZED := $(BUILD)/fuzzed

FUZZED_OBJECTS := $(patsubst $(BUILD)/%,$(FUZZED)/%,$(OBJECTS) $(VOLUME_OBJECTS))

$(BUILD)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(FUZZ_HEADERS) $(SOURCES) $(VOLUME_SOURCES) $(HEADERS)
	@mkdir -p $(@D)
	$(Q)$(MAKE) BUILD=$(FUZZED) CC=clang CFLAGS="-O1 -g $(FUZZ_FLAGS)" \
	    LDFLAGS="-fsanitize=address,undefined" $(FUZZED_OBJECTS)
	$(if $(V),,@echo "  LINK    $@")
	$(Q)clang $(CFLAGS) -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
	    -o $@ $< $(FUZZED_OBJECTS) $(WRAPPED_$*:%=-Wl,--wrap=%) $(LIBRARIES) $(VOLUME_LIBRARIES)

# Needs clang and libclang-rt.  What the search keeps is in build/; an input that
# breaks something is to be moved into tests/fuzz/corpus.
fuzz: $(FUZZ_NAMES:%=$(BUILD)/fuzz/fuzz_%)
	@for name in $(FUZZ_NAMES); do \
	    mkdir -p $(BUILD)/fuzz/corpus/$$name; \
	    $(BUILD)/fuzz/fuzz_$$name -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -print_final_stats=1 \
	        -artifact_prefix=$(BUILD)/fuzz/ -close_fd_mask=1 -dict=tests/fuzz/words.dict \
	        $(BUILD)/fuzz/corpus/$$name tests/fuzz/corpus/$$name || exit 1; done

# Plays the File Daemon for interface versions that no package here has; with
# the sanitizers for the tests of memory.
HOST_OBJECTS := $(patsubst tests/%.c,obj/%.o,$(filter-out tests/host/driver.c,$(wildcard tests/host/*.c))) \
                $(INTERFACES:%=obj/host/driver_%.o)

$(BUILD)/obj/host/driver_%.o: tests/host/driver.c Makefile
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC      $@")
	$(Q)$(CC) $(CFLAGS) -DFD_INTERFACE=$* -MMD -MP -c -o $@ $<

$(BUILD)/obj/%.o: tests/%.c Makefile
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC      $@")
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/fd-host: $(HOST_OBJECTS:%=$(BUILD)/%)
	$(if $(V),,@echo "  LINK    $@")
	$(Q)$(CC) $(CFLAGS) -o $@ $^ $(LIBRARIES) -ldl

$(ASAN)/obj/host/driver_%.o: tests/host/driver.c Makefile
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC      $@")
	$(Q)$(CC) $(CFLAGS) -O1 $(SANITIZE) -DFD_INTERFACE=$* -MMD -MP -c -o $@ $<

$(ASAN)/obj/host/%.o: tests/host/%.c Makefile
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC      $@")
	$(Q)$(CC) $(CFLAGS) -O1 $(SANITIZE) -MMD -MP -c -o $@ $<

$(ASAN)/fd-host: $(HOST_OBJECTS:%=$(ASAN)/%)
	$(if $(V),,@echo "  LINK    $@")
	$(Q)$(CC) $(CFLAGS) $(SANITIZE) -o $@ $^ $(LIBRARIES) -ldl

-include $(HOST_OBJECTS:%.o=$(BUILD)/%.d) $(HOST_OBJECTS:%.o=$(ASAN)/%.d)

# Both with ThreadSanitizer.
.PHONY: tsan
tsan:
	$(Q)$(MAKE) BUILD=$(BUILD)/tsan CFLAGS="-O1 -g -fsanitize=thread" LDFLAGS= \
	    $(BUILD)/tsan/qemu-fd.so $(BUILD)/tsan/fd-host

HOSTS := $(BUILD)/fd-host $(ASAN)/fd-host $(ASAN)/qemu-fd.so tsan

bacula:
	tools/fetch-bacula $(BACULA_DIR)

check-unit: $(UNIT_TESTS) $(FUZZ_REPLAYS)
	$(PYTHON) tests/run.py --unit $(UNIT_TESTS) --replay $(FUZZ_REPLAYS)

check-integration: all open man $(HOSTS) bacula
	$(PYTHON) tests/run.py --integration

check: all open man $(UNIT_TESTS) $(FUZZ_REPLAYS) $(HOSTS) bacula
	$(PYTHON) tests/run.py --unit $(UNIT_TESTS) --replay $(FUZZ_REPLAYS) --integration

# Every File Daemon of the integration tests with the sanitizers in the plugin;
# what is left out is named in tests/integration/harness/sanitizer.py.
check-asan: $(HOSTS) open bacula
	QEMU_FD_SANITIZE=1 $(PYTHON) tests/run.py --integration

# Every fault at every moment on every Bacula ("make check" runs a choice), and
# docs/internals/faults.md from what came of it.
FAULT_TESTS := $(addprefix tests/integration/,test_faults_backup.py test_faults_stream.py test_faults_restore.py \
                 test_pve_restore_ended.py test_pve_restore_faults.py)
FAULT_NAMES := test_fault or an_import or daemon_killed or director_killed or import_fails or import_hangs or import_killed or api_dies or no_volume

check-faults: all bacula
	rm -rf $(BUILD)/faults
	QEMU_FD_ALL_FAULTS=1 $(PYTHON) -m pytest -q -c tests/integration/pytest.ini -n "$$(($$(nproc) * 4))" --dist loadgroup \
	    $(FAULT_TESTS) -k "$(FAULT_NAMES)"; result=$$?; \
	    $(PYTHON) tools/fault-table && exit $$result

# What a seed did, it does again; the walk's own log says what that was.
.PHONY: check-long
STEPS ?= 200
check-long: all bacula
	@seed=$${SEED:-$$(shuf -i 1-999999 -n 1)}; echo "make check-long STEPS=$(STEPS) SEED=$$seed"; \
	QEMU_FD_WALK_STEPS=$(STEPS) QEMU_FD_WALK_SEED=$$seed $(PYTHON) -m pytest \
	    -c tests/integration/pytest.ini tests/integration/test_walk.py -s --timeout=0

# The main cases on QEMUs of several ages, each with every Bacula; makes the tables
# of docs/internals/versions.md.  QEMU="5.2 old" runs some rows, CASE=chain one column.
check-matrix: all $(BUILD)/fd-host bacula
	$(PYTHON) tests/matrix.py --rows="$(QEMU)" --case="$(CASE)"

# Whatever a part finds, those after it still run.
PARTS := $(BUILD)/kernel check check-asan check-faults check-long check-matrix check-packages

check-all:
	@failed=; for part in $(PARTS); do \
	    echo "make $$part"; \
	    QEMU_FD_LONG=1 $(MAKE) $$part || failed="$$failed $$part"; \
	done; \
	if [ "$$failed" ]; then echo "failed:$$failed"; exit 1; fi

# For what this machine's own kernel has not: a thin pool.
$(BUILD)/kernel:
	tools/fetch-kernel $@

demo: all bacula
	$(PYTHON) demo/demo.py

# For a quiet machine.  BENCH=--quick is a try that leaves docs/internals/figures.md alone.
bench: all bacula
	$(PYTHON) tests/bench/run.py $(BENCH)

# --- the code's own quality ------------------------------------------------

# The plugin's code and that of its tests, which is held to the same.
SHOWN     := $(wildcard src/*.[ch] src/*/*.[ch] include/*/*.h tests/*/*.[ch])
VERSIONED := src/bacula/adapter.c tests/host/driver.c
CHECKED   := $(filter-out $(VERSIONED),$(wildcard src/*.c src/*/*.c tests/*/*.c))
TIDY      := $(CHECKED:%=tidy/%) $(foreach number,$(INTERFACES),$(VERSIONED:%=tidy-$(number)/%))
SCRIPTS   := bootstrap .ci/run tools/check-version $(wildcard tools/fetch-* tools/*.sh) $(wildcard tests/integration/harness/*.sh)
PROGRAMS  := tools/fault-table $(wildcard demo/*.py examples/*.py tools/*.py tests/*.py tests/bench/*.py tests/fakes/*.py \
                        tests/fakes/*/*.py tests/integration/*.py tests/integration/*/*.py tests/packages/*.py)
# What gcc alone knows, or finds with its analyzer.  That one sees most where
# nothing is optimized away, and silently gives up a file (without these limits
# a third of them; -Wanalyzer-too-complex tells).
GCC_ONLY  := -fanalyzer --param analyzer-bb-explosion-factor=50 \
             --param analyzer-max-enodes-per-program-point=30 -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wformat-signedness \
             -Wjump-misses-init -Wformat-overflow=2
LINT      := version format clang gcc cppcheck shell python

.PHONY: objects $(TIDY) $(LINT:%=lint-%)

# All that is compiled, tests as well; "make lint" does so with other compilers.
objects: all open $(BUILD)/fd-host \
         $(patsubst tests/%.c,$(BUILD)/obj/%.o,$(wildcard tests/unit/*.c tests/fuzz/*.c))

format:
	clang-format -i $(SHOWN)

lint: $(LINT:%=lint-%) $(TIDY)

lint-version:
	@tools/check-version

lint-format:
	@clang-format --dry-run -Werror $(SHOWN)

lint-clang:
	$(MAKE) BUILD=$(BUILD)/clang CC=clang WERROR=-Werror objects

lint-gcc:
	$(MAKE) BUILD=$(BUILD)/analyzer CFLAGS="-O0 $(GCC_ONLY)" HARDENING= WERROR=-Werror objects

# It counts warnings of system headers on standard error, also when all is well.
RUN_TIDY = $(Q)log=$$(clang-tidy --quiet --warnings-as-errors='*' $< -- -std=c17 $(DEFINES) $(1) 2>&1) || \
           { echo "$$log"; exit 1; }

$(CHECKED:%=tidy/%): tidy/%: %
	$(call RUN_TIDY)

define TIDY_RULES
$$(VERSIONED:%=tidy-$(1)/%): tidy-$(1)/%: %
	$$(call RUN_TIDY,-DFD_INTERFACE=$(1))
endef
$(foreach number,$(INTERFACES),$(eval $(call TIDY_RULES,$(number))))

lint-cppcheck:
	@for number in $(INTERFACES); do \
	    cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability,performance \
	        --inline-suppr --library=.cppcheck.xml $(DEFINES) -DFD_INTERFACE=$$number src tests || exit 1; done

lint-shell:
	@shellcheck --external-sources --source-path=SCRIPTDIR $(SCRIPTS)

lint-python:
	@pylint --score=n $(PROGRAMS)

# --- documentation ---

MAN_PAGE := $(BUILD)/qemu-fd.5

.PHONY: man pages sessions
man: $(MAN_PAGE)

$(MAN_PAGE): tools/manpage.py docs/parameters.md docs/restore.md docs/limits.md $(wildcard docs/examples/*.conf) VERSION
	@mkdir -p $(@D)
	$(PYTHON) tools/manpage.py $(VERSION) >$@

# What the pages of docs/ include, and the pictures.
pages:
	$(PYTHON) tools/include.py
	@for picture in docs/pictures/*.picture; do \
	    $(PYTHON) tools/picture.py $$picture >$${picture%.picture}.svg || exit 1; done

# The sessions of docs/sessions as they are now; look at what changed.
sessions: all bacula
	DOCS_RECORD=1 $(PYTHON) -m pytest -q -c tests/integration/pytest.ini \
	    tests/integration/test_docs_sessions.py tests/integration/test_pve_docs.py
	$(MAKE) pages

# --- installation and packages ---------------------------------------------

# The folders stay as they are here: the documents link to each other.
DOCUMENTS := README.md SECURITY.md CHANGELOG.md $(wildcard docs/*.md docs/internals/* docs/reference/* docs/examples/* docs/sessions/* \
             docs/pictures/* examples/*)

# 0755, as rpm looks at no other file for what it is linked with.
install: all man
	install -D -m 0755 $(BUILD)/qemu-fd.so "$(DESTDIR)$(PLUGINDIR)/qemu-fd.so"
	install -D -m 0755 $(BUILD)/qemu-fd-helper "$(DESTDIR)$(PLUGINDIR)/qemu-fd-helper"
	install -D -m 0644 $(MAN_PAGE) "$(DESTDIR)$(MANDIR)/man5/qemu-fd.5"
	@for document in $(DOCUMENTS); do \
	    install -D -m 0644 $$document "$(DESTDIR)$(DOCDIR)/$$document" || exit 1; done

# With the variables that were given to install.  Nothing but the files that it
# put there, and folders of its own that are empty then.
uninstall:
	rm -f "$(DESTDIR)$(PLUGINDIR)/qemu-fd.so" "$(DESTDIR)$(PLUGINDIR)/qemu-fd-helper" \
	    "$(DESTDIR)$(MANDIR)/man5/qemu-fd.5"
	@for document in $(DOCUMENTS); do rm -f "$(DESTDIR)$(DOCDIR)/$$document" || exit 1; done
	@for folder in /docs/internals /docs/reference /docs/examples /docs/sessions /docs/pictures /docs /examples ""; do \
	    rmdir "$(DESTDIR)$(DOCDIR)$$folder" 2>/dev/null || true; done

install-open: open
	install -D -m 0755 $(BUILD)/qemu-fd-open "$(DESTDIR)$(PREFIX)/sbin/qemu-fd-open"
	install -D -m 0644 src/open/qemu-fd-open.8 "$(DESTDIR)$(MANDIR)/man8/qemu-fd-open.8"

uninstall-open:
	rm -f "$(DESTDIR)$(PREFIX)/sbin/qemu-fd-open" "$(DESTDIR)$(MANDIR)/man8/qemu-fd-open.8"

SPEC := $(BUILD)/bacula-qemu-fd-plugin.spec

# Who made the version, and when, as rpm writes it.
RPM_CHANGE := s/^ -- \(.*\)  \(...\), \(..\) \(...\) \(....\) .*/* \2 \4 \3 \5 \1 - $(VERSION)-1/p

# Not by make's dates: VERSION may come with an old one.
.PHONY: $(SPEC)
$(SPEC):
	@mkdir -p $(@D)
	@sed 's/@VERSION@/$(VERSION)/' rpm/bacula-qemu-fd-plugin.spec.in >$@
	@{ echo '%changelog'; sed -n '$(RPM_CHANGE)' debian/changelog | head -n 1; \
	    echo '- CHANGELOG.md says what is new.'; } >>$@

# The tarball of what git knows, and of the spec that rpmbuild -tb looks for;
# it needs no network to build.
dist: $(SPEC)
	$(Q)git archive --prefix=qemu-fd-$(VERSION)/rpm/ --add-file=$(SPEC) --prefix=qemu-fd-$(VERSION)/ \
	    -o $(BUILD)/qemu-fd-$(VERSION).tar.gz HEAD
	@echo $(BUILD)/qemu-fd-$(VERSION).tar.gz

# Both need root and a network.  In name spaces of their own: whatever is mounted or
# started there is gone when they end, whichever way.
DEBIAN ?= 12 13
debs: dist
	$(PYTHON) tests/packages/run.py --debs $(DEBIAN)

check-packages: dist all
	$(PYTHON) tests/packages/run.py

clean:
	rm -rf $(BUILD)/obj $(BUILD)/asan $(BUILD)/clang $(BUILD)/analyzer $(BUILD)/tests \
	    $(BUILD)/qemu-fd.so $(BUILD)/qemu-fd-helper $(BUILD)/qemu-fd-open $(BUILD)/fd-host $(BUILD)/tsan $(MAN_PAGE) $(SPEC)

# qemu-fd: back up running QEMU guests with Bacula.
# SPDX-License-Identifier: AGPL-3.0-or-later
#
#   make            build/qemu-fd.so
#   make check      unit tests under ASan and UBSan, then the integration tests
#   make demo       a backup and a restore of a real guest, shown step by step
#   make lint       formatter, clang build, gcc -fanalyzer, clang-tidy, cppcheck
#   make install    to $(DESTDIR)$(PLUGINDIR)
#
# bootstrap installs what these need on Debian 12.

VERSION   := $(shell cat VERSION)
PREFIX    ?= /usr
PLUGINDIR ?= $(PREFIX)/lib/bacula
BUILD     ?= build

PACKAGES  := jansson
PYTHON    ?= /usr/bin/python3

WARNINGS  := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
             -Wmissing-prototypes -Wvla -Werror
DEFINES   := -D_GNU_SOURCE -DQEMU_FD_VERSION='"$(VERSION)"' -Iinclude -Isrc
HARDENING := -fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=2 -fcf-protection
CFLAGS    ?= -O2 -g
LDFLAGS   ?= -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed -Wl,-z,defs
override CFLAGS += -std=c17 -fPIC -fvisibility=hidden $(WARNINGS) $(DEFINES) \
                   $(shell pkg-config --cflags $(PACKAGES))
LIBRARIES := $(shell pkg-config --libs $(PACKAGES)) -pthread

INTERFACES := 14 21 22 23
SOURCES    := $(filter-out src/bacula/adapter.c,$(wildcard src/*.c src/*/*.c))
OBJECTS    := $(SOURCES:src/%.c=$(BUILD)/obj/%.o) \
              $(INTERFACES:%=$(BUILD)/obj/bacula/adapter_%.o)
HEADERS    := $(wildcard include/*/*.h src/*/*.h)

MAKEFLAGS += -r

.DELETE_ON_ERROR:
.PHONY: all check check-unit check-integration demo lint format install clean bacula

all: $(BUILD)/qemu-fd.so

$(BUILD)/qemu-fd.so: $(OBJECTS)
	$(CC) -shared $(CFLAGS) $(HARDENING) $(LDFLAGS) -o $@ $^ $(LIBRARIES)

$(BUILD)/obj/bacula/adapter_%.o: src/bacula/adapter.c Makefile VERSION
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDENING) -DFD_INTERFACE=$* -MMD -MP -c -o $@ $<

$(BUILD)/obj/%.o: src/%.c Makefile VERSION
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDENING) -MMD -MP -c -o $@ $<

-include $(OBJECTS:.o=.d)

# SPDX-License-Identifier: GPL-2.0
# The only entry point: `make help` lists what there is.

# Debian's own: a python3 earlier on PATH may lack the packaged modules
PYTHON ?= /usr/bin/python3
# which machine `make kunit` runs on
ARCH ?= um

export KERNEL CONFIG FORCE T KVM ARM64 VFIO FULL
# kernels with KASAN, lockdep and the like: lab/kernel/debug.config
debug := $(filter 1,$(DEBUG))
# or that find data races: lab/kernel/kcsan.config
variant := $(if $(filter 1,$(KCSAN)),kcsan,$(if $(debug),debug))
# kbuild and git take these for themselves, or would hand them on to them
unexport ARCH DEBUG KCSAN MAKEFLAGS MFLAGS MAKELEVEL

ifeq ($(wildcard $(PYTHON)),)
$(error $(PYTHON) is missing: as root: apt-get install python3)
endif

.PHONY: demo
demo: deps		## boot the stock and the patched kernel, compare; ARM64=1
	@$(PYTHON) -m lab.demo

.PHONY: picture
picture: deps		## draw the groups of two NTBs, stock and series
	@$(PYTHON) -m lab.picture

.PHONY: test
test: deps		## run all tests
	@$(PYTHON) -m pytest

.PHONY: kunit
kunit: deps		## run KUnit on the patched kernel; ARCH=um|x86_64|arm64, DEBUG=1, LONG=1
	@$(PYTHON) -m scripts.kunit $(ARCH) $(if $(debug),--debug) $(if $(filter 1,$(LONG)),--long)

.PHONY: prove
prove: deps		## show that the tests of each fix fail without it
	@$(PYTHON) -m scripts.kunit --prove

.PHONY: same
same: deps		## show that the kernel's own tests come to the same as before
	@$(PYTHON) -m pytest scripts/test_same.py lab/test_iommufd.py \
		lab/test_ntb_selftest.py lab/test_vfio_selftests.py

.PHONY: lab
lab: deps		## boot the machines and run their tests; T=pattern, DEBUG, KCSAN, ARM64, VFIO=1
	@$(if $(variant),LAB_VARIANT=$(variant)) $(PYTHON) -m pytest lab $(if $(T),-k '$(T)') || \
		{ status=$$?; [ $$status != 5 ] || echo "no case matches T='$(T)'" >&2; exit $$status; }

.PHONY: bench
bench: deps		## count instructions, stock and series: a boot, groups of many
	@$(PYTHON) -m bench.boot
	@$(PYTHON) -m bench.scale

.PHONY: model
model: deps		## search all interleavings of the contract (Promela)
	@$(PYTHON) -m model.run

.PHONY: check
check: deps		## checkpatch, sparse, W=1, kernel-doc, each patch compiles; FULL=1
	@$(PYTHON) -m scripts.check

.PHONY: tree
tree: deps		## make build/linux from patches/ and linux/; KERNEL=source
	@$(PYTHON) -m scripts.tree

.PHONY: refresh
refresh:		## write the commits of build/linux to patches/ and linux/
	@$(PYTHON) -m scripts.refresh

.PHONY: series
series: tree		## write the mails to build/series
	@$(PYTHON) -m scripts.series

.PHONY: deb
deb: deps		## build Debian packages of the patched kernel; CONFIG=file
	@$(PYTHON) -m scripts.deb

.PHONY: qemu
qemu: deps		## build QEMU with the Switchtec NTB model; ARM64=1
	@$(PYTHON) -m scripts.qemu

.PHONY: deps
deps:			## install what is missing (as root)
	@$(PYTHON) -m scripts.deps

.PHONY: clean
clean:			## remove what was built, keep the trees and downloads
	@$(PYTHON) -m scripts.clean

.PHONY: distclean
distclean:		## remove all of build/
	@$(PYTHON) -m scripts.clean all

.PHONY: help
help:			## print this
	@sed -n 's/^\([a-z]*\):[^#]*## /\1	/p' $(MAKEFILE_LIST) | expand -t 12
	@echo 'with all: KERNEL=source QEMU=program KVM=1 FORCE=1 (README.md)'

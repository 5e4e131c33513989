/* A guest that does nothing but write: 4 KiB to a random cluster of a disk,
 * then a full stop to port 0xe9 (or !, when the write failed), and again.
 * SPDX-License-Identifier: AGPL-3.0-or-later.  Set by the assembler's --defsym:
 * DRIVE, the BIOS' number of the disk; FIRST and CLUSTERS, of 64 KiB, where it
 * writes; HERTZ, how often a second it does so at most, or 0 for no pause. */
        .set    PATTERN, 0x5757
        .set    PIT, 1193182            /* ticks a second of the timer */
        .code16
        .globl  _start
_start:
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        cld
        movw    $buffer, %di
        movw    $PATTERN, %ax
        movw    $2048, %cx
        rep stosw
.if HERTZ
        movb    $0x34, %al              /* channel 0, rate generator */
        outb    %al, $0x43
        movw    $(PIT / HERTZ), %ax
        outb    %al, $0x40
        movb    %ah, %al
        outb    %al, $0x40
.endif
next:
        sti
.if HERTZ
        hlt
.endif
        movl    seed, %eax
        movl    $1103515245, %ecx
        mull    %ecx
        addl    $12345, %eax
        movl    %eax, seed
        shrl    $8, %eax
        xorl    %edx, %edx
        movl    $CLUSTERS, %ecx
        divl    %ecx
        addl    $FIRST, %edx
        shll    $7, %edx                /* its first sector */
        movl    %edx, sector
        movw    $8, count               /* what a call leaves is how many it wrote */
        movw    $packet, %si
        movw    $0x4300, %ax            /* BIOS: extended write */
        movb    $DRIVE, %dl
        int     $0x13
        movb    $'.', %al
        jnc     say
        movb    $'!', %al
say:
        outb    %al, $0xe9
        jmp     next

        .balign 4
seed:   .long   1
packet: .byte   16, 0
count:  .word   0                       /* sectors */
        .word   buffer, 0               /* from this address */
sector: .quad   0
        .org    510
        .word   0xaa55
        .set    buffer, _start + 0x400

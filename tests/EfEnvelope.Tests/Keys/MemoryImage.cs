using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace EfEnvelope.Tests.Keys;

/// <summary>
/// Searches the writable memory of this process (Linux: /proc/self/mem) for needles that are kept masked, so that neither the notes of a test nor the search itself make a copy that
/// would be found.
/// </summary>
internal static class MemoryImage
{
    private const byte Pattern = 0x5A;
    private const int Overlap = 64;

    public static byte[] Mask(ReadOnlySpan<byte> material)
    {
        var masked = new byte[material.Length];
        for (var i = 0; i < masked.Length; i++)
        {
            masked[i] = (byte)(material[i] ^ Pattern);
        }

        return masked;
    }

    /// <summary>The names of the needles that are in memory.</summary>
    public static IReadOnlyCollection<string> Find(IReadOnlyList<(string What, byte[] Masked)> needles)
    {
        var found = new SortedSet<string>(StringComparer.Ordinal);
        var starts = new bool[1 << 16];
        var (seen, unseen) = (0L, 0L);
        foreach (var (_, masked) in needles)
        {
            starts[MemoryMarshal.Read<ushort>(masked)] = true;
        }

        var buffer = GC.AllocateUninitializedArray<byte>(1 << 20, pinned: true);
        using var memory = File.OpenHandle("/proc/self/mem", FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        foreach (var line in File.ReadAllLines("/proc/self/maps"))
        {
            var parts = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (!parts[1].StartsWith("rw", StringComparison.Ordinal))
            {
                continue;
            }

            var range = parts[0].Split('-');
            var to = long.Parse(range[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            for (var at = long.Parse(range[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture); at < to; at += buffer.Length - Overlap)
            {
                var part = buffer.AsSpan(0, (int)Math.Min(buffer.Length, to - at));
                try
                {
                    var read = RandomAccess.Read(memory, part, at);
                    Search(part[..read], needles, starts, found);
                    seen += read;
                    unseen += part.Length - read;
                }
                catch (IOException)
                {
                    // A mapping that cannot be read, or is gone by now.
                    unseen += part.Length;
                }
            }
        }

        CryptographicOperations.ZeroMemory(buffer);

        // What is not read holds nothing by this search: it must be little.
        Assert.True(unseen <= seen / 20, $"{unseen} bytes of the process could not be read, {seen} were.");
        return found;
    }

    private static void Search(Span<byte> memory, IReadOnlyList<(string What, byte[] Masked)> needles, bool[] starts, SortedSet<string> found)
    {
        foreach (ref var word in MemoryMarshal.Cast<byte, ulong>(memory))
        {
            word ^= 0x5A5A5A5A5A5A5A5A;
        }

        for (var i = 0; i + 1 < memory.Length; i++)
        {
            if (!starts[memory[i] | (memory[i + 1] << 8)])
            {
                continue;
            }

            foreach (var (what, masked) in needles)
            {
                if (memory[i..].StartsWith(masked))
                {
                    found.Add(what);
                }
            }
        }
    }
}

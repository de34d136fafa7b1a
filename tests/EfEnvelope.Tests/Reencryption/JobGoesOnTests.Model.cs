using EfEnvelope.Cryptography;
using EfEnvelope.Reencryption;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reencryption;

/// <summary>The entities.</summary>
public abstract partial class JobGoesOnTests
{
    public sealed class Paper
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Text { get; set; }

        public Inner? Inner { get; set; }
    }

    public sealed class Inner
    {
        [Encrypted]
        public string? First { get; set; }

        [Encrypted]
        public string? Second { get; set; }
    }

    public sealed class Box
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Text { get; set; }
    }
}

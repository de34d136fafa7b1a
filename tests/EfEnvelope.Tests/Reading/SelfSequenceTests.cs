using System.Collections;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reading;

/// <summary>A type that is a sequence of itself, as the parts of a JSON document are in some libraries, beside rows with keys of their own. No database is reached.</summary>
public sealed class SelfSequenceTests
{
    [Fact]
    public void A_query_over_a_type_that_is_a_sequence_of_itself_is_compiled()
    {
        var options = new DbContextOptionsBuilder().AmongMany().UseSqlite("Data Source=:memory:").UseEnvelopeEncryption(e => e.UseInMemoryKms());
        AdHocContext.Cached(options);
        using var context = new AdHocContext(options.Options, model =>
        {
            model.Entity<Keyed>().HasDataKeyPerRow();
            model.Entity<Doc>().Property(d => d.Payload).HasConversion(v => v!.Text, v => new Node { Text = v });
        });
        Assert.Contains("\"Payload\"", context.Set<Doc>().Select(d => d.Payload).ToQueryString(), StringComparison.Ordinal);
        Assert.Contains("\"Payload\" IS NOT NULL", context.Set<Doc>().Where(d => d.Payload != null).Select(d => new { d.Id, d.Payload }).ToQueryString(), StringComparison.Ordinal);
    }

    public sealed class Keyed
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Secret { get; set; }
    }

    public sealed class Doc
    {
        public int Id { get; set; }

        public Node? Payload { get; set; }
    }

    public sealed class Node : IEnumerable<Node>
    {
        public string Text { get; set; } = "";

        public IEnumerator<Node> GetEnumerator() => Enumerable.Empty<Node>().GetEnumerator();

        IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
    }
}

using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Querying;

/// <summary>The errors of refused queries: entity, property, what was to be done with it, the way out; never a value.</summary>
internal static class QueryRefusal
{
    /// <summary>An operation that would compare or compute on ciphertext.</summary>
    public static EnvelopeQueryException Operation(IProperty property, string operation)
        => Error(property, $"{operation} cannot be evaluated in the database, where it would compare ciphertext. Filter by other columns and evaluate this part on the client (AsEnumerable() after the filter).");

    /// <summary>A bulk update that cannot seal what it would write.</summary>
    public static EnvelopeQueryException BulkUpdate(IProperty property, string why)
        => Error(property, $"it cannot be set by this ExecuteUpdate: {why}. Load the rows and use SaveChanges.");

    private static EnvelopeQueryException Error(IProperty property, string text)
        => new($"{property.DeclaringType.DisplayName()}.{property.Name} is encrypted: {text}")
        {
            Entity = property.DeclaringType.DisplayName(),
            Property = property.Name,
            ColumnId = property.FindEnvelope()?.ColumnId,
        };
}
